-- Signed entries of the audit; `place` is that of the entry. Nothing refers to
-- the audit by a foreign key: a checkpoint must outlive an entry that someone
-- took out, or it could not tell.
CREATE TABLE audit_checkpoints (
    place        INTEGER PRIMARY KEY,
    trust_domain TEXT NOT NULL,
    replica      TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    hash         BLOB NOT NULL,
    at           INTEGER NOT NULL,
    key_id       BLOB NOT NULL,
    signature    BLOB NOT NULL,
    UNIQUE (replica, seq)
) STRICT;
CREATE INDEX audit_checkpoints_by_replica ON audit_checkpoints (replica, place);

-- One for each way to ask for entries; each brings them in the order of places.
CREATE INDEX audit_by_action ON audit (action, place);
CREATE INDEX audit_by_replica ON audit (replica, place);
CREATE INDEX audit_denied ON audit (place) WHERE denied = 1;
CREATE INDEX audit_by_time ON audit (at, place);
