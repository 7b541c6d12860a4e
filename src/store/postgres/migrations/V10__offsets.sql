-- Where the log holds what happened: the offset on the order's own partition; NULL when an older version projected it, or when
-- its record lies elsewhere.
ALTER TABLE history ADD COLUMN record_offset bigint;
