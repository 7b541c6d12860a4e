-- What one instance of a role does per second, as it was learned from what instances did.
CREATE TABLE capacities (
    role  TEXT NOT NULL PRIMARY KEY,
    per_s REAL NOT NULL
) STRICT, WITHOUT ROWID;
