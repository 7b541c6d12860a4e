-- Orders can be cancelled, moved on, held and amended. A column that is NULL says what it says of an order that can only
-- wait, as all orders were before.

ALTER TABLE orders ADD COLUMN partition integer; -- of the log, where commands find the order; NULL when no record told
ALTER TABLE orders ADD COLUMN flow text; -- name@version; NULL when no record told
ALTER TABLE orders ADD COLUMN address text; -- where its mails go, once that was corrected
-- The event (its seq) that cancelled or refused the order: mails about earlier ones are not sent any more.
ALTER TABLE orders ADD COLUMN mails_from smallint;

ALTER TABLE history ADD COLUMN closes text; -- how the order ended: cancelled, refused; NULL when it is finished, or `last` is false
ALTER TABLE history ADD COLUMN waits text; -- command, held; NULL when it waits for `next_at` or nothing
ALTER TABLE history ADD COLUMN left_ms bigint; -- held: what is left of its time in the state
ALTER TABLE history ADD COLUMN step smallint; -- the state's place in the flow; NULL when that is `seq`
ALTER TABLE history ADD COLUMN change text; -- held, resumed, delayed, readdressed; NULL when it entered the state
-- How else the state can be left, added up: 1 the operator may cancel, 2 the customer may, too, 4 a command moves the order on, 8 it
-- can be refused.
ALTER TABLE history ADD COLUMN exits smallint;
ALTER TABLE history ADD COLUMN expect_at bigint; -- when somebody is expected to have moved it on
ALTER TABLE history ADD COLUMN next text; -- the state that follows
ALTER TABLE history ADD COLUMN by text; -- who sent the command that caused it
ALTER TABLE history ADD COLUMN command text; -- its id
ALTER TABLE history ADD COLUMN reason text;
ALTER TABLE history ADD COLUMN template text; -- of its mail; NULL when that is called like the state

-- What became of commands, until the time for idempotency keys is over.
CREATE TABLE outcomes (
    command text COLLATE "C" PRIMARY KEY,
    at      bigint NOT NULL,
    stays   boolean NOT NULL, -- done or repeated, and not replaced by what comes later
    value   bytea NOT NULL -- as in the log
);

CREATE INDEX outcomes_age ON outcomes (at);
