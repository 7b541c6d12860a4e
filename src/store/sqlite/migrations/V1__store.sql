-- Times are milliseconds since the Unix epoch, flags 0 or 1.

-- One row per order, as it stands. The tracking handle is the id under a secret key, so it is not stored.
CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    gameid      TEXT NOT NULL,
    name        TEXT NOT NULL,
    price       TEXT NOT NULL,
    usermail    TEXT NOT NULL,
    lang        TEXT,
    placed_at   INTEGER NOT NULL,
    trace       TEXT,
    fingerprint INTEGER NOT NULL,
    estado      TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    next_at     INTEGER,
    finished    INTEGER NOT NULL
) STRICT;

-- Holds only what is in flight, and changes twice in an order's life, so it stays small and cheap.
CREATE INDEX orders_open ON orders (id) WHERE finished = 0;

-- One row per state that an order entered, and what became of the mail about it (the mail ledger).
-- `head` is 1 where the mail is unsettled (pending or sending) and no earlier mail of the order is: only these are
-- leased, so an index over them finds the next due mail at once, however many wait behind others.
CREATE TABLE history (
    order_id  INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    estado    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    next_at   INTEGER,
    mail      TEXT, -- pending, sending, sent, dead, dropped; NULL when mail was off
    head      INTEGER NOT NULL DEFAULT 0,
    due_at    INTEGER, -- pending: not before; sending: the end of the lease
    attempts  INTEGER NOT NULL DEFAULT 0,
    ambiguous INTEGER NOT NULL DEFAULT 0, -- an attempt ended without a known result
    tried_at  INTEGER, -- when the last attempt began
    reply     TEXT, -- the transport's reply, or the reason of the last failure
    PRIMARY KEY (order_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX mail_due ON history (due_at, at) WHERE head = 1;
CREATE INDEX mail_dead ON history (tried_at) WHERE mail = 'dead';
-- Empty but for the moments after a redrive: mails being sent whose lane an earlier one has taken back.
CREATE INDEX mail_overtaken ON history (order_id) WHERE mail = 'sending' AND head = 0;

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
