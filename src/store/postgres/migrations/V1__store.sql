-- Times are milliseconds since the Unix epoch. Keys of states and mails are 256 × order + seq.
--
-- What is written once stays where it is (orders, history, sent): no version of a row is ever replaced, so nothing has
-- to be cleaned up. What changes (lane, in_flight, tally, projected) is small, whatever the number of orders ever taken.

CREATE TABLE orders (
    id          bigint PRIMARY KEY,
    gameid      text NOT NULL,
    name        text NOT NULL,
    price       text NOT NULL,
    usermail    text NOT NULL,
    lang        text,
    placed_at   bigint NOT NULL,
    trace       text,
    fingerprint bigint NOT NULL
);

-- The orders that have not reached their last state.
CREATE TABLE in_flight (
    id bigint PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- One row per state that an order entered; where it stands is the last of them.
CREATE TABLE history (
    id      bigint PRIMARY KEY,
    estado  text NOT NULL,
    at      bigint NOT NULL,
    next_at bigint,
    last    boolean NOT NULL, -- the last state of the flow
    mail    boolean NOT NULL  -- a mail is made: in lane until it is settled, then in sent (until compacted) or dead_mails
);

-- The mails that are to be sent.
--
-- `head`:
--   1  no earlier mail of the order is unsettled: can be leased;
--   2  is being sent, but an earlier one came or was redriven since: waits behind that;
--   0  waits behind another.
-- Whoever adds a row holds the lock on its order; whoever changes one holds the lock on the row. So a settlement that
-- frees a lane and a projection that adds to it see each other.
CREATE TABLE lane (
    id        bigint PRIMARY KEY,
    at        bigint NOT NULL,
    head      smallint NOT NULL,
    sending   boolean NOT NULL,
    due_at    bigint NOT NULL, -- pending: not before; sending: the end of the lease
    tried_at  bigint,
    attempts  integer NOT NULL,
    ambiguous boolean NOT NULL, -- an attempt ended without a known result
    class     text,
    reply     text, -- the reason of the last failure
    lease     bigint -- which call of lease took it
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX lane_due ON lane (due_at, id) WHERE head = 1;

-- Mails that were accepted, until they are compacted.
CREATE TABLE sent (
    id        bigint PRIMARY KEY,
    tried_at  bigint NOT NULL,
    attempts  integer NOT NULL,
    ambiguous boolean NOT NULL,
    reply     text NOT NULL
);

CREATE INDEX sent_age ON sent (tried_at);

-- Mails that are dead, or were given up by an operator.
CREATE TABLE dead_mails (
    id        bigint PRIMARY KEY,
    dropped   boolean NOT NULL DEFAULT false,
    tried_at  bigint, -- NULL once compacted
    attempts  integer NOT NULL,
    ambiguous boolean NOT NULL,
    class     text,
    reply     text
);

CREATE INDEX dead_mails_age ON dead_mails (tried_at, id) WHERE NOT dropped;
CREATE INDEX dropped_mails_age ON dead_mails (tried_at) WHERE dropped AND tried_at IS NOT NULL;

-- Addresses that were refused for good, their ASCII letters in lower case.
CREATE TABLE suppressed (
    address text COLLATE "C" PRIMARY KEY,
    at      bigint NOT NULL,
    reason  text NOT NULL,
    mail    bigint NOT NULL -- the key in the history of the mail that was refused
);

-- How many orders are in each state ('open', 'finished'), mails in each status ('mail') and of each class ('class', as
-- 'status/class'), 'repeated' attempts, 'suppressed' addresses; changed in the transactions that change these. A count
-- is the sum over the slots: a connection writes its own slot only, so that transactions do not wait for each other.
CREATE TABLE tally (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    slot smallint NOT NULL,
    n    bigint NOT NULL,
    PRIMARY KEY (kind, name, slot)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.5);

-- Records that could not be processed.
CREATE TABLE dead_records (
    topic         text NOT NULL,
    partition     integer NOT NULL,
    "offset"      bigint NOT NULL,
    reason        text NOT NULL,
    attempts      integer NOT NULL,
    at            bigint NOT NULL,
    key           bytea,
    value         bytea NOT NULL,
    headers       text NOT NULL, -- JSON: [[name, [byte, …]], …]
    status        text NOT NULL DEFAULT 'dead', -- dead, chosen (to be driven again), redriven, dropped
    claimed_until bigint NOT NULL DEFAULT 0, -- who drives it again has it until then
    seen          bigint GENERATED ALWAYS AS IDENTITY, -- the order of arrival
    PRIMARY KEY (topic, partition, "offset")
);

CREATE INDEX dead_records_status ON dead_records (status, at, seen);

-- How far each group has projected the log; moves in the transaction that applies the events.
CREATE TABLE projected (
    group_name text COLLATE "C" NOT NULL,
    topic      text COLLATE "C" NOT NULL,
    partition  integer NOT NULL,
    "offset"   bigint NOT NULL,
    PRIMARY KEY (group_name, topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.5);

CREATE TABLE idempotency_keys (
    key         text COLLATE "C" PRIMARY KEY,
    request     bigint NOT NULL, -- a hash of the request
    order_id    bigint NOT NULL,
    value       bytea, -- the record to append; NULL once it is known to be durable
    runs        integer NOT NULL DEFAULT 1, -- requests that took the reservation
    reserved_at bigint NOT NULL,
    until       bigint NOT NULL -- nobody takes the reservation over before
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (reserved_at);

CREATE TABLE secrets (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
