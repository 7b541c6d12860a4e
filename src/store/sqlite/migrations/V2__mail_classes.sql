-- Why the last attempt at a mail failed, in a class that is counted ('class' in the tally, as 'status/class').
ALTER TABLE history ADD COLUMN class TEXT;

-- Addresses that were refused for good, their ASCII letters in lower case.
CREATE TABLE suppressed (
    address TEXT NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    mail    INTEGER NOT NULL -- the key in the history of the mail that was refused
) STRICT, WITHOUT ROWID;

-- Who drives a chosen record again has it until then.
ALTER TABLE dead_records ADD COLUMN claimed_until INTEGER NOT NULL DEFAULT 0;

-- The rows of the ledger before this key were compacted, or were not settled when it was their turn.
CREATE TABLE compacted (
    before INTEGER NOT NULL
) STRICT;
INSERT INTO compacted (before) VALUES (0);
