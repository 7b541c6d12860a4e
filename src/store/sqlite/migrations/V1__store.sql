-- Times are milliseconds since the Unix epoch, flags 0 or 1.

-- One row per order: what was ordered, and never changes. Where it stands is the last row of its history. The tracking
-- handle is the id under a secret key, so it is not stored.
CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    gameid      TEXT NOT NULL,
    name        TEXT NOT NULL,
    price       TEXT NOT NULL,
    usermail    TEXT NOT NULL,
    lang        TEXT,
    placed_at   INTEGER NOT NULL,
    trace       TEXT,
    fingerprint INTEGER NOT NULL
) STRICT;

-- The orders that have not reached their last state. A table of its own and not a column of the order: finishing one
-- then touches a page or two that are in memory anyway, whatever the number of orders ever taken.
CREATE TABLE in_flight (
    id INTEGER PRIMARY KEY
) STRICT;

-- One row per state that an order entered, and what became of the mail about it (the mail ledger).
--
-- The key is 256 × order + seq: an integer key is found and changed at half the cost of a composite one.
--
-- `head` says which mails can be leased, so that an index over them finds the next due one at once, however many wait
-- behind others:
--   1  unsettled (pending or sending), and no earlier mail of the order is;
--   2  was being sent when an earlier mail was redriven: waits behind that, but its lease has to be found;
--   0  settled, or waits behind another.
CREATE TABLE history (
    id        INTEGER PRIMARY KEY,
    order_id  INTEGER NOT NULL GENERATED ALWAYS AS (id >> 8) VIRTUAL,
    seq       INTEGER NOT NULL GENERATED ALWAYS AS (id & 255) VIRTUAL,
    estado    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    next_at   INTEGER,
    last      INTEGER NOT NULL, -- the last state of the flow
    mail      TEXT, -- pending, sending, sent, dead, dropped; NULL when mail was off
    head      INTEGER NOT NULL,
    due_at    INTEGER, -- pending: not before; sending: the end of the lease
    tried_at  INTEGER, -- when the last attempt began; before the first, when the mail was made
    attempts  INTEGER NOT NULL DEFAULT 0,
    ambiguous INTEGER NOT NULL DEFAULT 0, -- an attempt ended without a known result
    reply     TEXT -- the transport's reply, or the reason of the last failure
) STRICT;

-- The one index on this table, for each costs every mail three times. `at` is in it for the age of the oldest.
CREATE INDEX mail_due ON history (due_at, at) WHERE head > 0;

-- The mails that are dead, by the key of the history.
CREATE TABLE dead_mails (
    id INTEGER PRIMARY KEY
) STRICT;

-- How many orders are in each state ('open', 'finished') and mails in each status ('mail', 'repeated'), kept by the
-- same transactions that change them: a count never needs a scan.
CREATE TABLE tally (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    n    INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Records that could not be processed.
CREATE TABLE dead_records (
    topic     TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset    INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    attempts  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    key       BLOB,
    value     BLOB NOT NULL,
    headers   TEXT NOT NULL, -- JSON: [[name, [byte, …]], …]
    status    TEXT NOT NULL DEFAULT 'dead', -- dead, chosen (to be driven again), redriven, dropped
    PRIMARY KEY (topic, partition, offset)
) STRICT;

CREATE INDEX dead_records_status ON dead_records (status, at);

-- How far each group has projected the log; moves in the transaction that applies the events.
CREATE TABLE projected (
    group_name TEXT NOT NULL,
    topic      TEXT NOT NULL,
    partition  INTEGER NOT NULL,
    offset     INTEGER NOT NULL,
    PRIMARY KEY (group_name, topic, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    key         TEXT NOT NULL PRIMARY KEY,
    request     INTEGER NOT NULL, -- a hash of the request
    order_id    INTEGER NOT NULL,
    value       BLOB, -- the record to append; NULL once it is known to be durable
    runs        INTEGER NOT NULL DEFAULT 1, -- requests that took the reservation
    reserved_at INTEGER NOT NULL,
    until       INTEGER NOT NULL -- nobody takes the reservation over before
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_age ON idempotency_keys (reserved_at);

CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
