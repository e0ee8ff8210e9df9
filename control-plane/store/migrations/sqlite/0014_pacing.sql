-- How an operation goes about it, as JSON; null: all at once. Beside it what is looked for.
ALTER TABLE operations ADD COLUMN plan TEXT;
ALTER TABLE operations ADD COLUMN lease TEXT;
ALTER TABLE operations ADD COLUMN supersede_key TEXT;
ALTER TABLE operations ADD COLUMN retry_of TEXT;
ALTER TABLE operations ADD COLUMN cancel_forced INTEGER NOT NULL DEFAULT 0;
CREATE INDEX operations_by_key ON operations (supersede_key, id) WHERE supersede_key IS NOT NULL;

ALTER TABLE commands ADD COLUMN cancel_forced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE commands ADD COLUMN retry_of TEXT;
CREATE INDEX commands_retried ON commands (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX commands_in_flight ON commands (operation_id) WHERE state IN ('delivered', 'running');

CREATE TABLE concurrency_leases (
    name     TEXT PRIMARY KEY,
    body     TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
