CREATE TABLE topics (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- A partition holds the offsets start..next. Both live here and not in the records, so that they outlive them.
CREATE TABLE partitions (
    id       INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    start    INTEGER NOT NULL DEFAULT 0,
    next     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic_id, number)
) STRICT;

CREATE TABLE records (
    partition_id INTEGER NOT NULL,
    offset       INTEGER NOT NULL,
    at           INTEGER NOT NULL, -- milliseconds since 1970
    key          BLOB,
    headers      BLOB, -- name and value in turn, each after its length (LEB128); NULL when there are none
    value        BLOB NOT NULL,
    PRIMARY KEY (partition_id, offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_offsets (
    group_name   TEXT NOT NULL,
    partition_id INTEGER NOT NULL,
    offset       INTEGER NOT NULL, -- the next one to read
    metadata     TEXT NOT NULL,
    PRIMARY KEY (group_name, partition_id)
) STRICT, WITHOUT ROWID;
