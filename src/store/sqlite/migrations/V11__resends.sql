-- Who had the last mail of an order sent again, and when.
CREATE TABLE resends (
    id       INTEGER NOT NULL, -- the mail, as in the history
    attempts INTEGER NOT NULL, -- that it had by then
    at       INTEGER NOT NULL,
    by       TEXT NOT NULL,
    reason   TEXT
) STRICT;

CREATE INDEX resends_of ON resends (id);
