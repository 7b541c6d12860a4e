-- Where tracking is, as the answer to the first request said; NULL for keys of before.
ALTER TABLE idempotency_keys ADD COLUMN track TEXT;
