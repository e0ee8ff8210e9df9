-- The processes that serve this store, and which of them holds the session of which node.
CREATE TABLE replicas (
    name       TEXT PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE, -- of this run
    version    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    beat       INTEGER NOT NULL,
    beat_at    INTEGER NOT NULL,
    addresses  TEXT NOT NULL, -- JSON
    sessions   INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    leads      INTEGER NOT NULL
) STRICT;
CREATE TABLE node_sessions (
    node_id    TEXT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    replica_id TEXT NOT NULL,
    session    TEXT, -- JSON; none: it has ended, and the node is waited for
    revision   INTEGER NOT NULL
) STRICT;
CREATE INDEX node_sessions_by_revision ON node_sessions (revision);
CREATE INDEX node_sessions_by_replica ON node_sessions (replica_id);
