-- What one instance of a role does per second, as it was learned from what instances did.
CREATE TABLE capacities (
    role  text COLLATE "C" PRIMARY KEY,
    per_s double precision NOT NULL
);
