-- Orders can be cancelled, moved on, held and amended. A column that is NULL says what it says of an order that can only
-- wait, as all orders were before.

ALTER TABLE orders ADD COLUMN partition INTEGER; -- of the log, where commands find the order; NULL when no record told
ALTER TABLE orders ADD COLUMN flow TEXT; -- name@version; NULL when no record told
ALTER TABLE orders ADD COLUMN address TEXT; -- where its mails go, once that was corrected
-- The event (its seq) that cancelled or refused the order: mails about earlier ones are not sent any more.
ALTER TABLE orders ADD COLUMN mails_from INTEGER;

ALTER TABLE history ADD COLUMN closes TEXT; -- how the order ended: cancelled, refused; NULL when it is finished, or `last` is 0
ALTER TABLE history ADD COLUMN waits TEXT; -- command, held; NULL when it waits for `next_at` or nothing
ALTER TABLE history ADD COLUMN left_ms INTEGER; -- held: what is left of its time in the state
ALTER TABLE history ADD COLUMN step INTEGER; -- the state's place in the flow; NULL when that is `seq`
ALTER TABLE history ADD COLUMN change TEXT; -- held, resumed, delayed, readdressed; NULL when it entered the state
-- How else the state can be left, added up: 1 the operator may cancel, 2 the customer may, too, 4 a command moves the order on, 8 it
-- can be refused.
ALTER TABLE history ADD COLUMN exits INTEGER;
ALTER TABLE history ADD COLUMN expect_at INTEGER; -- when somebody is expected to have moved it on
ALTER TABLE history ADD COLUMN next TEXT; -- the state that follows
ALTER TABLE history ADD COLUMN by TEXT; -- who sent the command that caused it
ALTER TABLE history ADD COLUMN command TEXT; -- its id
ALTER TABLE history ADD COLUMN reason TEXT;
ALTER TABLE history ADD COLUMN template TEXT; -- of its mail; NULL when that is called like the state

-- What became of commands, until the time for idempotency keys is over.
CREATE TABLE outcomes (
    command TEXT NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    stays   INTEGER NOT NULL, -- done or repeated, and not replaced by what comes later
    value   BLOB NOT NULL -- as in the log
) STRICT, WITHOUT ROWID;

CREATE INDEX outcomes_age ON outcomes (at);
