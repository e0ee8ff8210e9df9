-- What happened, for those who want to know it later or at once.
CREATE TABLE events (
    id       TEXT PRIMARY KEY,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    severity INTEGER NOT NULL,
    node_id  TEXT, -- it may be a node no more
    subject  TEXT NOT NULL,
    reason   TEXT NOT NULL,
    is_many  INTEGER NOT NULL,
    body     TEXT NOT NULL, -- JSON
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (at, id);
CREATE INDEX events_by_revision ON events (revision, id);
CREATE INDEX events_by_node ON events (node_id, at, id) WHERE node_id IS NOT NULL;
-- What still may grow is among the newest of its kind.
CREATE INDEX events_of_many ON events (kind, subject, reason, at) WHERE is_many = 1;

-- Up to this revision some were taken away.
ALTER TABLE feed ADD COLUMN events_floor INTEGER NOT NULL DEFAULT 0;
