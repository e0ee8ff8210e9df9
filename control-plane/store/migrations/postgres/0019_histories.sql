-- Histories that ended when the store was restored from a backup, and what of a history that
-- is not known here a person has let be overwritten on a node.
CREATE TABLE ended_histories (
    epoch       BIGINT PRIMARY KEY,
    revision    BIGINT NOT NULL,
    taken_at    BIGINT NOT NULL,
    restored_at BIGINT NOT NULL
);
ALTER TABLE node_status ADD COLUMN accepted TEXT COLLATE "C"; -- JSON
