-- A fingerprint of the record before the offset: tells a log that only looks as long as the one that was projected. NULL for
-- what an older version projected, and for order numbers given out, which are counted under the group encargo-intake.
ALTER TABLE projected ADD COLUMN print bigint;
