-- The keys of trusted slots, encrypted: for the other replicas, and for one that begins anew.
CREATE TABLE authority_keys (
    slot   INTEGER PRIMARY KEY REFERENCES authority_slots (number),
    id     TEXT NOT NULL, -- to which the content is bound
    key_id TEXT NOT NULL, -- of the file of keys
    sealed BLOB NOT NULL
) STRICT;
