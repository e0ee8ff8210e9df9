-- Histories that ended when the store was restored from a backup, and what of a history that
-- is not known here a person has let be overwritten on a node.
CREATE TABLE ended_histories (
    epoch       INTEGER PRIMARY KEY,
    revision    INTEGER NOT NULL,
    taken_at    INTEGER NOT NULL,
    restored_at INTEGER NOT NULL
) STRICT;
ALTER TABLE node_status ADD COLUMN accepted TEXT; -- JSON
