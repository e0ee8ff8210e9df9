-- What leads to alerts; of a rule that is built in, what takes its place.
CREATE TABLE alert_rules (
    name     TEXT PRIMARY KEY,
    body     TEXT NOT NULL, -- JSON
    revision INTEGER NOT NULL
) STRICT;

CREATE TABLE alerts (
    id        TEXT PRIMARY KEY,
    rule      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    is_open   INTEGER NOT NULL,
    ended_at  INTEGER,
    body      TEXT NOT NULL, -- JSON
    revision  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (rule, subject) WHERE is_open = 1;
CREATE INDEX alerts_ended ON alerts (ended_at) WHERE is_open = 0;

CREATE TABLE alert_silences (
    id       TEXT PRIMARY KEY,
    ends_at  INTEGER NOT NULL,
    body     TEXT NOT NULL, -- JSON
    revision INTEGER NOT NULL
) STRICT;

-- Who is told.
CREATE TABLE alert_receivers (
    name      TEXT PRIMARY KEY,
    body      TEXT NOT NULL, -- JSON
    secret_id TEXT REFERENCES secrets (id),
    revision  INTEGER NOT NULL
) STRICT;

-- What each is to be told still, in the order of the ids.
CREATE TABLE alert_deliveries (
    id         TEXT PRIMARY KEY,
    receiver   TEXT NOT NULL REFERENCES alert_receivers (name) ON DELETE CASCADE,
    alert_id   TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    event      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    dead_at    INTEGER, -- nobody tries any more
    error      TEXT NOT NULL
) STRICT;
CREATE INDEX alert_deliveries_by_receiver ON alert_deliveries (receiver, id);
CREATE INDEX alert_deliveries_by_alert ON alert_deliveries (alert_id);
