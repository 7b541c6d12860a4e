-- A mail is driven from when it was made, or driven again, until it is settled.
ALTER TABLE lane ADD COLUMN begun_at bigint; -- the first attempt of this drive
ALTER TABLE lane ADD COLUMN tries integer NOT NULL DEFAULT 0; -- attempts of this drive
ALTER TABLE lane ADD COLUMN copies integer NOT NULL DEFAULT 0; -- of these, handed over without an answer
