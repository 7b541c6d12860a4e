-- Rows in the order in which they were written, found by an index: an index without a table under it kept whole values in
-- its inner pages, and had each partition append in the middle of it.
ALTER TABLE records RENAME TO records_v1;

CREATE TABLE records (
    partition_id INTEGER NOT NULL,
    offset       INTEGER NOT NULL,
    at           INTEGER NOT NULL, -- milliseconds since 1970
    key          BLOB,
    headers      BLOB, -- name and value in turn, each after its length (LEB128); NULL when there are none
    value        BLOB NOT NULL,
    PRIMARY KEY (partition_id, offset)
) STRICT;

INSERT INTO records SELECT * FROM records_v1 ORDER BY partition_id, offset;
DROP TABLE records_v1;
