-- The processes that serve this store, and which of them holds the session of which node.
CREATE TABLE replicas (
    name       TEXT COLLATE "C" PRIMARY KEY,
    id         TEXT COLLATE "C" NOT NULL UNIQUE, -- of this run
    version    TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    beat       BIGINT NOT NULL,
    beat_at    BIGINT NOT NULL,
    addresses  TEXT COLLATE "C" NOT NULL, -- JSON
    sessions   BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    leads      BIGINT NOT NULL
);
CREATE TABLE node_sessions (
    node_id    TEXT COLLATE "C" PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    replica_id TEXT COLLATE "C" NOT NULL,
    session    TEXT COLLATE "C", -- JSON; none: it has ended, and the node is waited for
    revision   BIGINT NOT NULL
);
CREATE INDEX node_sessions_by_revision ON node_sessions (revision);
CREATE INDEX node_sessions_by_replica ON node_sessions (replica_id);
