-- Who had the last mail of an order sent again, and when.
CREATE TABLE resends (
    id       bigint NOT NULL, -- the mail, as in the history
    attempts integer NOT NULL, -- that it had by then
    at       bigint NOT NULL,
    by       text NOT NULL,
    reason   text
);

CREATE INDEX resends_of ON resends (id);
