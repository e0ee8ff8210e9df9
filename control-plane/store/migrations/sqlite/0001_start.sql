-- Times are Unix milliseconds, ids the written form of a UUID (version 7: they
-- sort by their making), digests 32 bytes, yes and no 1 and 0.

-- "MUST": tells a database of ours from any other.
PRAGMA application_id = 0x4d555354;

CREATE TABLE migrations (
    version INTEGER PRIMARY KEY,
    name    TEXT NOT NULL
) STRICT;

-- epoch, trust-domain, trust-bundle-version.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('trust-bundle-version', '0');

-- The revision row: taken by every transaction that writes, so revisions are
-- committed in their order.
CREATE TABLE feed (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    revision    INTEGER NOT NULL,
    floor       INTEGER NOT NULL,
    audit_place INTEGER NOT NULL
) STRICT;
INSERT INTO feed (one, revision, floor, audit_place) VALUES (1, 0, 0, 0);

CREATE TABLE changes (
    revision INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    PRIMARY KEY (revision, kind, id)
) STRICT, WITHOUT ROWID;

-- The certificate authority's slots: what is public of them. Keys are files.
CREATE TABLE authority_slots (
    number      INTEGER PRIMARY KEY,
    standing    TEXT NOT NULL,
    root_of     INTEGER NOT NULL,
    root_der    BLOB NOT NULL,
    issuing_der BLOB NOT NULL,
    cross_der   BLOB,
    external    INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL
) STRICT;

-- Who is not let in, whatever certificate is shown.
CREATE TABLE revocations (
    subject TEXT PRIMARY KEY, -- "node/ID", "operator/NAME", "service/NAME", "serial/HEX"
    reason  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    by      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A node is spread by who writes how often: what operators edit, what the host
-- is doing, what the host is, its certificates, its items.
CREATE TABLE nodes (
    id                  TEXT PRIMARY KEY,
    display_name        TEXT NOT NULL,
    labels              TEXT NOT NULL, -- JSON
    enrolled_key_sha256 BLOB NOT NULL,
    machine_fingerprint BLOB NOT NULL,
    enrolled_with       TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    selector_revision   INTEGER NOT NULL,
    revision            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX nodes_by_enrolled_key ON nodes (enrolled_key_sha256, id);

CREATE TABLE node_status (
    node_id         TEXT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    liveness        TEXT NOT NULL,
    liveness_since  INTEGER NOT NULL,
    liveness_reason TEXT NOT NULL,
    ledger_id       TEXT,
    ledger_seq      INTEGER,
    trust_bundle    INTEGER NOT NULL DEFAULT 0,
    recoveries      INTEGER NOT NULL DEFAULT 0,
    quarantine      TEXT -- JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE node_facts (
    node_id      TEXT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    facts        TEXT NOT NULL, -- JSON
    facts_sha256 BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE node_certificates (
    node_id    TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    is_next    INTEGER NOT NULL,
    serial     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    issuer     INTEGER NOT NULL, -- slot of the authority
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    key_sha256 BLOB NOT NULL,
    der        BLOB NOT NULL,
    PRIMARY KEY (node_id, is_next)
) STRICT;

CREATE TABLE node_items (
    node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    item    TEXT NOT NULL,
    state   TEXT NOT NULL, -- JSON
    PRIMARY KEY (node_id, item)
) STRICT, WITHOUT ROWID;

-- Ids are never given twice: those of nodes that were removed stay known.
CREATE TABLE removed_nodes (
    id         TEXT PRIMARY KEY,
    removed_at INTEGER NOT NULL,
    removed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE join_tokens (
    id            TEXT PRIMARY KEY,
    description   TEXT NOT NULL,
    secret_sha256 BLOB NOT NULL,
    labels        TEXT NOT NULL, -- JSON
    max_uses      INTEGER NOT NULL,
    uses          INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    revoked_at    INTEGER,
    allowed       TEXT NOT NULL, -- JSON
    require_approval INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX join_tokens_by_secret ON join_tokens (secret_sha256);

-- Tokens of issuers that have let a node in: none lets another in.
CREATE TABLE spent_tokens (
    id         BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_tokens_by_end ON spent_tokens (expires_at);

-- Hosts that wait until a person says yes.
CREATE TABLE join_requests (
    id                  TEXT PRIMARY KEY,
    token_id            TEXT NOT NULL REFERENCES join_tokens (id),
    key_sha256          BLOB NOT NULL,
    display_name        TEXT NOT NULL,
    hostname            TEXT NOT NULL,
    machine_fingerprint BLOB NOT NULL,
    remote_address      TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    state               TEXT NOT NULL,
    decided_at          INTEGER,
    decided_by          TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX join_requests_by_key ON join_requests (token_id, key_sha256);
CREATE INDEX join_requests_by_end ON join_requests (expires_at);

CREATE TABLE bundles (
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    sha256     BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE bundle_payloads (
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (name, version),
    FOREIGN KEY (name, version) REFERENCES bundles (name, version) ON DELETE CASCADE
) STRICT;

-- The newest version a name ever had: a number is not given to other content
-- after its bundle was deleted.
CREATE TABLE bundle_names (
    name         TEXT PRIMARY KEY,
    last_version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE profiles (
    name       TEXT PRIMARY KEY,
    options    TEXT NOT NULL, -- JSON
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    revision   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE assignments (
    name           TEXT PRIMARY KEY,
    selector       TEXT NOT NULL,
    scope          TEXT NOT NULL, -- selectors of whoever made it, "*" for all nodes
    target         TEXT NOT NULL CHECK (target IN ('bundle', 'settings')),
    target_name    TEXT NOT NULL,
    target_version INTEGER,
    priority       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    updated_by     TEXT NOT NULL,
    revision       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE item_marks (
    item TEXT PRIMARY KEY,
    mark INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE operations (
    id               TEXT PRIMARY KEY,
    selector         TEXT NOT NULL,
    kind             TEXT NOT NULL,
    args             BLOB NOT NULL,
    request_id       TEXT,
    request_sha256   BLOB NOT NULL,
    created_by       TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    not_before       INTEGER,
    deliver_by       INTEGER NOT NULL,
    run_timeout_ms   INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    ended_at         INTEGER,
    total            INTEGER NOT NULL,
    trace_id         TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX operations_by_request ON operations (created_by, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX operations_open ON operations (id) WHERE ended_at IS NULL;

CREATE TABLE commands (
    id               TEXT PRIMARY KEY,
    operation_id     TEXT NOT NULL REFERENCES operations (id),
    node_id          TEXT NOT NULL, -- no reference: a command outlives its node
    state            TEXT NOT NULL,
    exit_code        INTEGER,
    signal           INTEGER,
    reason           TEXT,
    message          TEXT NOT NULL,
    cancel_requested INTEGER NOT NULL,
    report_seq       INTEGER NOT NULL,
    output_bytes     INTEGER NOT NULL,
    dropped_bytes    INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    deliver_by       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX commands_by_operation ON commands (operation_id, id);
CREATE INDEX commands_by_state ON commands (operation_id, state);
CREATE INDEX commands_open ON commands (node_id, id) WHERE state IN ('queued', 'delivered', 'running');
CREATE INDEX commands_queued ON commands (deliver_by) WHERE state = 'queued';

CREATE TABLE command_output (
    command_id    TEXT NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
    seq           INTEGER NOT NULL,
    is_stderr     INTEGER NOT NULL,
    stream_offset INTEGER NOT NULL,
    data          BLOB NOT NULL,
    dropped_bytes INTEGER NOT NULL,
    PRIMARY KEY (command_id, seq)
) STRICT;

CREATE TABLE callers (
    principal  TEXT PRIMARY KEY,
    serial     TEXT NOT NULL,
    issuer     INTEGER NOT NULL, -- slot of the authority
    not_after  INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What callers may: the union of the bindings that match them.
CREATE TABLE bindings (
    name       TEXT PRIMARY KEY,
    principal  TEXT NOT NULL, -- a pattern: "operator/alice", "service/ci-*"
    role       TEXT NOT NULL,
    selector   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One chain per replica; `place` is the order of commits over all of them.
CREATE TABLE audit (
    place          INTEGER PRIMARY KEY,
    replica        TEXT NOT NULL,
    seq            INTEGER NOT NULL,
    actor          TEXT NOT NULL,
    action         TEXT NOT NULL,
    at             INTEGER NOT NULL,
    remote_address TEXT NOT NULL,
    trace_id       TEXT NOT NULL,
    subject        TEXT NOT NULL,
    before_json    TEXT NOT NULL,
    after_json     TEXT NOT NULL,
    denied         INTEGER NOT NULL,
    previous       BLOB NOT NULL,
    hash           BLOB NOT NULL,
    UNIQUE (replica, seq)
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject, place);
CREATE INDEX audit_by_actor ON audit (actor, place);
