-- The keys of trusted slots, encrypted: for the other replicas, and for one that begins anew.
CREATE TABLE authority_keys (
    slot   BIGINT PRIMARY KEY REFERENCES authority_slots (number),
    id     TEXT COLLATE "C" NOT NULL, -- to which the content is bound
    key_id TEXT COLLATE "C" NOT NULL, -- of the file of keys
    sealed BYTEA NOT NULL
);
