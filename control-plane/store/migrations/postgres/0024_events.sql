-- What happened, for those who want to know it later or at once.
CREATE TABLE events (
    id       TEXT COLLATE "C" PRIMARY KEY,
    at       BIGINT NOT NULL,
    kind     TEXT COLLATE "C" NOT NULL,
    severity BIGINT NOT NULL,
    node_id  TEXT COLLATE "C", -- it may be a node no more
    subject  TEXT COLLATE "C" NOT NULL,
    reason   TEXT COLLATE "C" NOT NULL,
    is_many  BIGINT NOT NULL,
    body     TEXT COLLATE "C" NOT NULL, -- JSON
    revision BIGINT NOT NULL
);
CREATE INDEX events_by_time ON events (at, id);
CREATE INDEX events_by_revision ON events (revision, id);
CREATE INDEX events_by_node ON events (node_id, at, id) WHERE node_id IS NOT NULL;
-- What still may grow is among the newest of its kind.
CREATE INDEX events_of_many ON events (kind, subject, reason, at) WHERE is_many = 1;

-- Up to this revision some were taken away.
ALTER TABLE feed ADD COLUMN events_floor BIGINT NOT NULL DEFAULT 0;
