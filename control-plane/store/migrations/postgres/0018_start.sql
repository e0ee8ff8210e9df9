-- The schema of SQLite's migrations 1 to 18, in one step and in the types of
-- PostgreSQL: BIGINT, BYTEA, and TEXT that is compared by its bytes. Times are Unix
-- milliseconds, ids the written form of a UUID (version 7: they sort by their making),
-- digests 32 bytes, yes and no 1 and 0.

CREATE TABLE migrations (
    version BIGINT PRIMARY KEY,
    name    TEXT COLLATE "C" NOT NULL
);
-- By this the database is known as one of ours.
COMMENT ON TABLE migrations IS 'Muster';

-- epoch, trust-domain, trust-bundle-version, rollout-brake (who stopped all rollouts, as JSON),
-- workload-issuers-newest (its number is not given again).
CREATE TABLE meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);
INSERT INTO meta (name, value) VALUES
    ('trust-bundle-version', '0'), ('rollout-brake', ''), ('workload-issuers-newest', '0');

-- The revision row: taken first by every transaction that writes, so revisions are
-- committed in their order, and what one reads no other changes.
CREATE TABLE feed (
    one         BIGINT PRIMARY KEY CHECK (one = 1),
    revision    BIGINT NOT NULL,
    floor       BIGINT NOT NULL,
    audit_place BIGINT NOT NULL
);
INSERT INTO feed (one, revision, floor, audit_place) VALUES (1, 0, 0, 0);

CREATE TABLE changes (
    revision BIGINT NOT NULL,
    kind     TEXT COLLATE "C" NOT NULL,
    id       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (revision, kind, id)
);

-- The certificate authority's slots: what is public of them. Keys are files.
CREATE TABLE authority_slots (
    number      BIGINT PRIMARY KEY,
    standing    TEXT COLLATE "C" NOT NULL,
    root_of     BIGINT NOT NULL,
    root_der    BYTEA NOT NULL,
    issuing_der BYTEA NOT NULL,
    cross_der   BYTEA,
    external    BIGINT NOT NULL,
    not_after   BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL
);

-- Who is not let in, whatever certificate is shown.
CREATE TABLE revocations (
    subject TEXT COLLATE "C" PRIMARY KEY, -- "node/ID", "operator/NAME", "service/NAME", "serial/HEX"
    reason  TEXT COLLATE "C" NOT NULL,
    at      BIGINT NOT NULL,
    by      TEXT COLLATE "C" NOT NULL
);

-- A node is spread by who writes how often: what operators edit, what the host
-- is doing, what the host is, its certificates, its items.
CREATE TABLE nodes (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    display_name        TEXT COLLATE "C" NOT NULL,
    labels              TEXT COLLATE "C" NOT NULL, -- JSON
    enrolled_key_sha256 BYTEA NOT NULL,
    machine_fingerprint BYTEA NOT NULL,
    enrolled_with       TEXT COLLATE "C" NOT NULL,
    created_at          BIGINT NOT NULL,
    selector_revision   BIGINT NOT NULL,
    revision            BIGINT NOT NULL
);
CREATE INDEX nodes_by_enrolled_key ON nodes (enrolled_key_sha256, id);
CREATE INDEX nodes_by_enrolled_with ON nodes (enrolled_with);

CREATE TABLE node_status (
    node_id         TEXT COLLATE "C" PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    liveness        TEXT COLLATE "C" NOT NULL,
    liveness_since  BIGINT NOT NULL,
    liveness_reason TEXT COLLATE "C" NOT NULL,
    ledger_id       TEXT COLLATE "C",
    ledger_seq      BIGINT,
    trust_bundle    BIGINT NOT NULL DEFAULT 0,
    recoveries      BIGINT NOT NULL DEFAULT 0,
    quarantine      TEXT COLLATE "C", -- JSON
    -- The one process that is the node after a quarantine, as JSON.
    kept            TEXT COLLATE "C",
    -- Begin of the newest certificate that a node had in common with another host when it
    -- was released as one process: none from until then raises a suspicion.
    own_since       BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE node_facts (
    node_id      TEXT COLLATE "C" PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    facts        TEXT COLLATE "C" NOT NULL, -- JSON
    facts_sha256 BYTEA NOT NULL
);

CREATE TABLE node_certificates (
    node_id    TEXT COLLATE "C" NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    is_next    BIGINT NOT NULL,
    serial     TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    issuer     BIGINT NOT NULL, -- slot of the authority
    not_before BIGINT NOT NULL,
    not_after  BIGINT NOT NULL,
    key_sha256 BYTEA NOT NULL,
    der        BYTEA NOT NULL,
    PRIMARY KEY (node_id, is_next)
);

CREATE TABLE node_items (
    node_id TEXT COLLATE "C" NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    item    TEXT COLLATE "C" NOT NULL,
    state   TEXT COLLATE "C" NOT NULL, -- JSON
    PRIMARY KEY (node_id, item)
);

-- Ids are never given twice: those of nodes that were removed stay known.
CREATE TABLE removed_nodes (
    id         TEXT COLLATE "C" PRIMARY KEY,
    removed_at BIGINT NOT NULL,
    removed_by TEXT COLLATE "C" NOT NULL
);

CREATE TABLE join_tokens (
    id               TEXT COLLATE "C" PRIMARY KEY,
    description      TEXT COLLATE "C" NOT NULL,
    secret_sha256    BYTEA NOT NULL,
    labels           TEXT COLLATE "C" NOT NULL, -- JSON
    max_uses         BIGINT NOT NULL,
    uses             BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    revoked_at       BIGINT,
    allowed          TEXT COLLATE "C" NOT NULL, -- JSON
    require_approval BIGINT NOT NULL,
    -- Which labels hosts may ask for that come with it, as JSON.
    requestable      TEXT COLLATE "C" NOT NULL DEFAULT '[]'
);
CREATE UNIQUE INDEX join_tokens_by_secret ON join_tokens (secret_sha256);

-- Tokens of issuers that have let a node in: none lets another in.
CREATE TABLE spent_tokens (
    id         BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX spent_tokens_by_end ON spent_tokens (expires_at);

-- Hosts that wait until a person says yes.
CREATE TABLE join_requests (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    token_id            TEXT COLLATE "C" NOT NULL REFERENCES join_tokens (id),
    key_sha256          BYTEA NOT NULL,
    display_name        TEXT COLLATE "C" NOT NULL,
    hostname            TEXT COLLATE "C" NOT NULL,
    machine_fingerprint BYTEA NOT NULL,
    remote_address      TEXT COLLATE "C" NOT NULL,
    created_at          BIGINT NOT NULL,
    expires_at          BIGINT NOT NULL,
    state               TEXT COLLATE "C" NOT NULL,
    decided_at          BIGINT,
    decided_by          TEXT COLLATE "C" NOT NULL,
    requested_labels    TEXT COLLATE "C" NOT NULL DEFAULT '{}' -- JSON
);
CREATE UNIQUE INDEX join_requests_by_key ON join_requests (token_id, key_sha256);
CREATE INDEX join_requests_by_end ON join_requests (expires_at);

CREATE TABLE bundles (
    name       TEXT COLLATE "C" NOT NULL,
    version    BIGINT NOT NULL,
    sha256     BYTEA NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE bundle_payloads (
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (name, version),
    FOREIGN KEY (name, version) REFERENCES bundles (name, version) ON DELETE CASCADE
);

-- The newest version a name ever had: a number is not given to other content
-- after its bundle was deleted.
CREATE TABLE bundle_names (
    name         TEXT COLLATE "C" PRIMARY KEY,
    last_version BIGINT NOT NULL
);

CREATE TABLE item_marks (
    item TEXT COLLATE "C" PRIMARY KEY,
    mark BIGINT NOT NULL
);

CREATE TABLE operations (
    id               TEXT COLLATE "C" PRIMARY KEY,
    selector         TEXT COLLATE "C" NOT NULL,
    kind             TEXT COLLATE "C" NOT NULL,
    args             BYTEA NOT NULL,
    request_id       TEXT COLLATE "C",
    request_sha256   BYTEA NOT NULL,
    created_by       TEXT COLLATE "C" NOT NULL,
    created_at       BIGINT NOT NULL,
    not_before       BIGINT,
    deliver_by       BIGINT NOT NULL,
    run_timeout_ms   BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL,
    ended_at         BIGINT,
    total            BIGINT NOT NULL,
    trace_id         TEXT COLLATE "C" NOT NULL,
    -- Commands of one lane run on a host one after the other; empty: in none.
    lane             TEXT COLLATE "C" NOT NULL DEFAULT '',
    -- Output of all commands of an operation together: what is kept of it, and what is.
    output_limit     BIGINT NOT NULL DEFAULT 268435456,
    output_bytes     BIGINT NOT NULL DEFAULT 0,
    -- That started it; empty: somebody did.
    schedule         TEXT COLLATE "C" NOT NULL DEFAULT '',
    -- How an operation goes about it, as JSON; null: all at once. Beside it what is looked for.
    plan             TEXT COLLATE "C",
    lease            TEXT COLLATE "C",
    supersede_key    TEXT COLLATE "C",
    retry_of         TEXT COLLATE "C",
    cancel_forced    BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX operations_by_request ON operations (created_by, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX operations_open ON operations (id) WHERE ended_at IS NULL;
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX operations_by_key ON operations (supersede_key, id) WHERE supersede_key IS NOT NULL;

CREATE TABLE commands (
    id               TEXT COLLATE "C" PRIMARY KEY,
    operation_id     TEXT COLLATE "C" NOT NULL REFERENCES operations (id),
    node_id          TEXT COLLATE "C" NOT NULL, -- no reference: a command outlives its node
    state            TEXT COLLATE "C" NOT NULL,
    exit_code        BIGINT,
    signal           BIGINT,
    reason           TEXT COLLATE "C",
    message          TEXT COLLATE "C" NOT NULL,
    cancel_requested BIGINT NOT NULL,
    report_seq       BIGINT NOT NULL,
    output_bytes     BIGINT NOT NULL,
    dropped_bytes    BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    deliver_by       BIGINT NOT NULL,
    stderr_bytes     BIGINT NOT NULL DEFAULT 0,
    cancel_forced    BIGINT NOT NULL DEFAULT 0,
    retry_of         TEXT COLLATE "C",
    -- What a host says a command found or made, as it was encoded there; empty: nothing.
    result           BYTEA NOT NULL DEFAULT ''
);
CREATE INDEX commands_by_operation ON commands (operation_id, id);
CREATE INDEX commands_by_state ON commands (operation_id, state);
CREATE INDEX commands_open ON commands (node_id, id) WHERE state IN ('queued', 'delivered', 'running');
CREATE INDEX commands_queued ON commands (deliver_by) WHERE state = 'queued';
CREATE INDEX commands_retried ON commands (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX commands_in_flight ON commands (operation_id) WHERE state IN ('delivered', 'running');

CREATE TABLE command_output (
    command_id    TEXT COLLATE "C" NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
    seq           BIGINT NOT NULL,
    is_stderr     BIGINT NOT NULL,
    stream_offset BIGINT NOT NULL,
    data          BYTEA NOT NULL,
    dropped_bytes BIGINT NOT NULL,
    PRIMARY KEY (command_id, seq)
);

CREATE TABLE callers (
    principal  TEXT COLLATE "C" PRIMARY KEY,
    serial     TEXT COLLATE "C" NOT NULL,
    issuer     BIGINT NOT NULL, -- slot of the authority
    not_after  BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- What callers may: the union of the bindings that match them.
CREATE TABLE bindings (
    name       TEXT COLLATE "C" PRIMARY KEY,
    principal  TEXT COLLATE "C" NOT NULL, -- a pattern: "operator/alice", "service/ci-*"
    role       TEXT COLLATE "C" NOT NULL,
    selector   TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL
);

-- One chain per replica; `place` is the order of commits over all of them.
CREATE TABLE audit (
    place          BIGINT PRIMARY KEY,
    replica        TEXT COLLATE "C" NOT NULL,
    seq            BIGINT NOT NULL,
    actor          TEXT COLLATE "C" NOT NULL,
    action         TEXT COLLATE "C" NOT NULL,
    at             BIGINT NOT NULL,
    remote_address TEXT COLLATE "C" NOT NULL,
    trace_id       TEXT COLLATE "C" NOT NULL,
    subject        TEXT COLLATE "C" NOT NULL,
    before_json    TEXT COLLATE "C" NOT NULL,
    after_json     TEXT COLLATE "C" NOT NULL,
    denied         BIGINT NOT NULL,
    previous       BYTEA NOT NULL,
    hash           BYTEA NOT NULL,
    UNIQUE (replica, seq)
);
CREATE INDEX audit_by_subject ON audit (subject, place);
CREATE INDEX audit_by_actor ON audit (actor, place);
CREATE INDEX audit_by_action ON audit (action, place);
CREATE INDEX audit_by_replica ON audit (replica, place);
CREATE INDEX audit_denied ON audit (place) WHERE denied = 1;
CREATE INDEX audit_by_time ON audit (at, place);

-- Signed entries of the audit; `place` is that of the entry. Nothing refers to
-- the audit by a foreign key: a checkpoint must outlive an entry that someone
-- took out, or it could not tell.
CREATE TABLE audit_checkpoints (
    place        BIGINT PRIMARY KEY,
    trust_domain TEXT COLLATE "C" NOT NULL,
    replica      TEXT COLLATE "C" NOT NULL,
    seq          BIGINT NOT NULL,
    hash         BYTEA NOT NULL,
    at           BIGINT NOT NULL,
    key_id       BYTEA NOT NULL,
    signature    BYTEA NOT NULL,
    UNIQUE (replica, seq)
);
CREATE INDEX audit_checkpoints_by_replica ON audit_checkpoints (replica, place);

CREATE TABLE rollouts (
    id         TEXT COLLATE "C" PRIMARY KEY,
    assignment TEXT COLLATE "C" NOT NULL, -- no reference: a rollout outlives its assignment
    request_id TEXT COLLATE "C",
    created_by TEXT COLLATE "C" NOT NULL,
    is_over    BIGINT NOT NULL,
    body       TEXT COLLATE "C" NOT NULL, -- JSON
    revision   BIGINT NOT NULL
);
CREATE INDEX rollouts_open ON rollouts (id) WHERE is_over = 0;
CREATE INDEX rollouts_by_assignment ON rollouts (assignment, id);
CREATE UNIQUE INDEX rollouts_by_request ON rollouts (created_by, request_id) WHERE request_id IS NOT NULL;

-- What a rollout has given to a node: the last one by each assignment.
CREATE TABLE rollout_touches (
    node_id    TEXT COLLATE "C" NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    assignment TEXT COLLATE "C" NOT NULL,
    touch      TEXT COLLATE "C" NOT NULL, -- JSON
    revision   BIGINT NOT NULL,
    PRIMARY KEY (node_id, assignment)
);
CREATE INDEX rollout_touches_by_assignment ON rollout_touches (assignment, revision);

-- Bytes known by their digest. They themselves are in the blob storage; what
-- stands here says whether they can be had. They are not on the change feed:
-- nobody keeps them in memory.
CREATE TABLE blobs (
    sha256             BYTEA PRIMARY KEY,
    size_bytes         BIGINT NOT NULL,
    state              TEXT COLLATE "C" NOT NULL CHECK (state IN ('arriving', 'here', 'leaving')),
    created_at         BIGINT NOT NULL,
    created_by         TEXT COLLATE "C" NOT NULL,
    unreferenced_since BIGINT -- NULL: something refers to it
);
CREATE INDEX blobs_unreferenced ON blobs (unreferenced_since) WHERE unreferenced_since IS NOT NULL;

-- Who needs a blob: "bundle/NAME/VERSION". Written with the referrer itself; a
-- blob that is referred to cannot be deleted.
CREATE TABLE blob_references (
    sha256   BYTEA NOT NULL REFERENCES blobs (sha256),
    referrer TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (sha256, referrer)
);
CREATE INDEX blob_references_by_referrer ON blob_references (referrer, sha256);

-- Uploads that are not whole. How far one is, its file says.
CREATE TABLE blob_uploads (
    id         TEXT COLLATE "C" PRIMARY KEY,
    sha256     BYTEA NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX blob_uploads_by_end ON blob_uploads (expires_at);

-- Protected contents of bundles, encrypted under a key that is not in here.
CREATE TABLE secrets (
    id     TEXT COLLATE "C" PRIMARY KEY,
    key_id TEXT COLLATE "C" NOT NULL, -- of the vault
    sealed BYTEA NOT NULL -- nonce, ciphertext and tag
);

-- Which file of which version has one. A content that no version has any more goes.
CREATE TABLE bundle_secrets (
    name      TEXT COLLATE "C" NOT NULL,
    version   BIGINT NOT NULL,
    path      TEXT COLLATE "C" NOT NULL,
    secret_id TEXT COLLATE "C" NOT NULL REFERENCES secrets (id),
    PRIMARY KEY (name, version, path),
    FOREIGN KEY (name, version) REFERENCES bundles (name, version) ON DELETE CASCADE
);
CREATE INDEX bundle_secrets_by_secret ON bundle_secrets (secret_id);

-- A profile has versions that never change, as bundles have.
CREATE TABLE profile_versions (
    name       TEXT COLLATE "C" NOT NULL,
    version    BIGINT NOT NULL,
    options    TEXT COLLATE "C" NOT NULL, -- JSON
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    revision   BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);

-- The newest version a name ever had: a number is not given to other values
-- after its profile was deleted.
CREATE TABLE profile_names (
    name         TEXT COLLATE "C" PRIMARY KEY,
    last_version BIGINT NOT NULL
);

CREATE TABLE node_groups (
    name        TEXT COLLATE "C" PRIMARY KEY,
    selector    TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    updated_by  TEXT COLLATE "C" NOT NULL,
    revision    BIGINT NOT NULL
);

CREATE TABLE schedules (
    name        TEXT COLLATE "C" PRIMARY KEY,
    cron        TEXT COLLATE "C" NOT NULL,
    time_zone   TEXT COLLATE "C" NOT NULL,
    operation   BYTEA NOT NULL,
    paused      BIGINT NOT NULL,
    catch_up_ms BIGINT NOT NULL,
    overlap     BIGINT NOT NULL,
    owner       TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    since       BIGINT NOT NULL,
    revision    BIGINT NOT NULL
);

-- How far each schedule is, by the clock of each time zone.
CREATE TABLE schedule_places (
    schedule     TEXT COLLATE "C" NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
    zone         TEXT COLLATE "C" NOT NULL,
    done_until   BIGINT NOT NULL,
    operation_id TEXT COLLATE "C", -- that was started last; no reference: it goes by its own age
    PRIMARY KEY (schedule, zone)
);

-- What became of their times.
CREATE TABLE schedule_fires (
    schedule     TEXT COLLATE "C" NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
    at           BIGINT NOT NULL,
    zone         TEXT COLLATE "C" NOT NULL,
    outcome      TEXT COLLATE "C" NOT NULL,
    operation_id TEXT COLLATE "C",
    message      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (schedule, at, zone)
);

CREATE TABLE concurrency_leases (
    name     TEXT COLLATE "C" PRIMARY KEY,
    body     TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL
);

-- Issuers of identities for programs on hosts: the public halves. The number of the newest
-- that ever was is in meta: it is not given again.
CREATE TABLE workload_issuers (
    number          BIGINT PRIMARY KEY,
    standing        TEXT COLLATE "C" NOT NULL,
    certificate_der BYTEA NOT NULL,
    jwt_key_der     BYTEA NOT NULL,
    not_after       BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    changed_at      BIGINT NOT NULL
);

-- What nodes are given.
CREATE TABLE assignments (
    name           TEXT COLLATE "C" PRIMARY KEY,
    selector       TEXT COLLATE "C" NOT NULL,
    scope          TEXT COLLATE "C" NOT NULL, -- selectors of whoever made it, "*" for all nodes
    target         TEXT COLLATE "C" NOT NULL CHECK (target IN ('bundle', 'settings', 'extension', 'release')),
    target_name    TEXT COLLATE "C" NOT NULL, -- of a release its version
    target_version BIGINT, -- of a release 0
    priority       BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    updated_by     TEXT COLLATE "C" NOT NULL,
    revision       BIGINT NOT NULL,
    -- What rollouts have made of an assignment, as JSON.
    staged         TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    -- Selectors of nodes that an assignment does not reach, as JSON.
    exclusions     TEXT COLLATE "C" NOT NULL DEFAULT '[]'
);

-- The signed repository: its newest state as JSON, and its files by the paths they have there.
CREATE TABLE artifact_repository (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    body     TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE artifact_metadata (
    path    TEXT COLLATE "C" PRIMARY KEY, -- "metadata/3.root.json"
    content BYTEA NOT NULL
);

-- Files that the newest targets metadata names. Their bytes are blobs.
CREATE TABLE artifact_targets (
    name       TEXT COLLATE "C" PRIMARY KEY,
    sha256     BYTEA NOT NULL,
    size_bytes BIGINT NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('extension', 'release')),
    publisher  TEXT COLLATE "C" NOT NULL, -- of a release empty, as its type
    type       TEXT COLLATE "C" NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    os         TEXT COLLATE "C" NOT NULL,
    arch       TEXT COLLATE "C" NOT NULL,
    since      BIGINT NOT NULL
);
CREATE INDEX artifact_targets_by_package ON artifact_targets (kind, publisher, type, version);

-- Releases of the agent that were ever published. One that was withdrawn is given to nobody new.
CREATE TABLE releases (
    version      TEXT COLLATE "C" PRIMARY KEY,
    sha256       BYTEA NOT NULL,
    payload      BYTEA NOT NULL,
    published_at BIGINT NOT NULL,
    withdrawn_at BIGINT
);

-- What each channel recommends.
CREATE TABLE release_channels (
    name       TEXT COLLATE "C" PRIMARY KEY,
    version    TEXT COLLATE "C" NOT NULL REFERENCES releases (version),
    updated_at BIGINT NOT NULL,
    updated_by TEXT COLLATE "C" NOT NULL,
    revision   BIGINT NOT NULL
);

CREATE TABLE extensions (
    name            TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL,
    sha256          BYTEA NOT NULL,
    publisher       TEXT COLLATE "C" NOT NULL,
    type            TEXT COLLATE "C" NOT NULL,
    package_version TEXT COLLATE "C" NOT NULL,
    payload         BYTEA NOT NULL,
    secret_id       TEXT COLLATE "C" REFERENCES secrets (id), -- its protected settings
    created_at      BIGINT NOT NULL,
    created_by      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE INDEX extensions_by_secret ON extensions (secret_id) WHERE secret_id IS NOT NULL;

-- The newest version a name ever had: a number is not given to other content later.
CREATE TABLE extension_names (
    name         TEXT COLLATE "C" PRIMARY KEY,
    last_version BIGINT NOT NULL
);

-- The last batch of each process that wrote: a commit whose answer was lost is known
-- by it. Of this engine only, and not copied.
CREATE TABLE store_writers (
    id    TEXT COLLATE "C" PRIMARY KEY,
    batch BIGINT NOT NULL,
    at    TIMESTAMPTZ NOT NULL
);
