-- A mail is driven from when it was made, or driven again, until it is settled.
ALTER TABLE history ADD COLUMN begun_at INTEGER; -- the first attempt of this drive
ALTER TABLE history ADD COLUMN tries INTEGER NOT NULL DEFAULT 0; -- attempts of this drive
ALTER TABLE history ADD COLUMN copies INTEGER NOT NULL DEFAULT 0; -- of these, handed over without an answer
