-- What rollouts have made of an assignment, as JSON.
ALTER TABLE assignments ADD COLUMN staged TEXT NOT NULL DEFAULT '{}';

CREATE TABLE rollouts (
    id         TEXT PRIMARY KEY,
    assignment TEXT NOT NULL, -- no reference: a rollout outlives its assignment
    request_id TEXT,
    created_by TEXT NOT NULL,
    is_over    INTEGER NOT NULL,
    body       TEXT NOT NULL, -- JSON
    revision   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX rollouts_open ON rollouts (id) WHERE is_over = 0;
CREATE INDEX rollouts_by_assignment ON rollouts (assignment, id);
CREATE UNIQUE INDEX rollouts_by_request ON rollouts (created_by, request_id) WHERE request_id IS NOT NULL;

-- What a rollout has given to a node: the last one by each assignment.
CREATE TABLE rollout_touches (
    node_id    TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    assignment TEXT NOT NULL,
    touch      TEXT NOT NULL, -- JSON
    revision   INTEGER NOT NULL,
    PRIMARY KEY (node_id, assignment)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollout_touches_by_assignment ON rollout_touches (assignment, revision);

-- Who stopped all rollouts, as JSON; empty: nobody.
INSERT INTO meta (name, value) VALUES ('rollout-brake', '');
