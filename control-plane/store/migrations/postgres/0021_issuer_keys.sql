-- The keys of an issuer, encrypted: for the other replicas, and for one that begins anew.
ALTER TABLE workload_issuers ADD COLUMN secret_id TEXT COLLATE "C" REFERENCES secrets (id);
