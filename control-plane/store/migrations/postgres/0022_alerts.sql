-- What leads to alerts; of a rule that is built in, what takes its place.
CREATE TABLE alert_rules (
    name     TEXT COLLATE "C" PRIMARY KEY,
    body     TEXT COLLATE "C" NOT NULL, -- JSON
    revision BIGINT NOT NULL
);

CREATE TABLE alerts (
    id        TEXT COLLATE "C" PRIMARY KEY,
    rule      TEXT COLLATE "C" NOT NULL,
    subject   TEXT COLLATE "C" NOT NULL,
    is_open   BIGINT NOT NULL,
    ended_at  BIGINT,
    body      TEXT COLLATE "C" NOT NULL, -- JSON
    revision  BIGINT NOT NULL
);
CREATE UNIQUE INDEX alerts_open ON alerts (rule, subject) WHERE is_open = 1;
CREATE INDEX alerts_ended ON alerts (ended_at) WHERE is_open = 0;

CREATE TABLE alert_silences (
    id       TEXT COLLATE "C" PRIMARY KEY,
    ends_at  BIGINT NOT NULL,
    body     TEXT COLLATE "C" NOT NULL, -- JSON
    revision BIGINT NOT NULL
);

-- Who is told.
CREATE TABLE alert_receivers (
    name      TEXT COLLATE "C" PRIMARY KEY,
    body      TEXT COLLATE "C" NOT NULL, -- JSON
    secret_id TEXT COLLATE "C" REFERENCES secrets (id),
    revision  BIGINT NOT NULL
);

-- What each is to be told still, in the order of the ids.
CREATE TABLE alert_deliveries (
    id         TEXT COLLATE "C" PRIMARY KEY,
    receiver   TEXT COLLATE "C" NOT NULL REFERENCES alert_receivers (name) ON DELETE CASCADE,
    alert_id   TEXT COLLATE "C" NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    event      TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    tries      BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    dead_at    BIGINT, -- nobody tries any more
    error      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX alert_deliveries_by_receiver ON alert_deliveries (receiver, id);
CREATE INDEX alert_deliveries_by_alert ON alert_deliveries (alert_id);
