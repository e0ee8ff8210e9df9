CREATE TABLE schedules (
    name        TEXT PRIMARY KEY,
    cron        TEXT NOT NULL,
    time_zone   TEXT NOT NULL,
    operation   BLOB NOT NULL,
    paused      INTEGER NOT NULL,
    catch_up_ms INTEGER NOT NULL,
    overlap     INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    since       INTEGER NOT NULL,
    revision    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each schedule is, by the clock of each time zone.
CREATE TABLE schedule_places (
    schedule     TEXT NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
    zone         TEXT NOT NULL,
    done_until   INTEGER NOT NULL,
    operation_id TEXT, -- that was started last; no reference: it goes by its own age
    PRIMARY KEY (schedule, zone)
) STRICT, WITHOUT ROWID;

-- What became of their times.
CREATE TABLE schedule_fires (
    schedule     TEXT NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
    at           INTEGER NOT NULL,
    zone         TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    operation_id TEXT,
    message      TEXT NOT NULL,
    PRIMARY KEY (schedule, at, zone)
) STRICT, WITHOUT ROWID;

-- That started it; empty: somebody did.
ALTER TABLE operations ADD COLUMN schedule TEXT NOT NULL DEFAULT '';
