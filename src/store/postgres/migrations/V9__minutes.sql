-- Orders by the minute in which they were placed ('minute/placed') or ended ('minute/finished', 'minute/cancelled'), for five
-- weeks: a table of their own, for the tally is kept small and roomy. A count is the sum over the slots, as there.
CREATE TABLE minutes (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    slot smallint NOT NULL,
    n    bigint NOT NULL,
    PRIMARY KEY (kind, name, slot)
);

WITH moved AS (DELETE FROM tally WHERE kind LIKE 'minute/%' RETURNING kind, name, slot, n)
INSERT INTO minutes SELECT * FROM moved;
