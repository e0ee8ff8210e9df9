CREATE TABLE node_groups (
    name        TEXT PRIMARY KEY,
    selector    TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    updated_by  TEXT NOT NULL,
    revision    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Selectors of nodes that an assignment does not reach, as JSON.
ALTER TABLE assignments ADD COLUMN exclusions TEXT NOT NULL DEFAULT '[]';
