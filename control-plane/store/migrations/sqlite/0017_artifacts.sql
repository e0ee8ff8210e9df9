-- What nodes can be given besides bundles and settings.
CREATE TABLE assignments_wider (
    name           TEXT PRIMARY KEY,
    selector       TEXT NOT NULL,
    scope          TEXT NOT NULL, -- selectors of whoever made it, "*" for all nodes
    target         TEXT NOT NULL CHECK (target IN ('bundle', 'settings', 'extension', 'release')),
    target_name    TEXT NOT NULL, -- of a release its version
    target_version INTEGER,       -- of a release 0
    priority       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    updated_by     TEXT NOT NULL,
    revision       INTEGER NOT NULL,
    staged         TEXT NOT NULL DEFAULT '{}',
    exclusions     TEXT NOT NULL DEFAULT '[]'
) STRICT, WITHOUT ROWID;
INSERT INTO assignments_wider
    SELECT name, selector, scope, target, target_name, target_version, priority, created_at, updated_at,
           updated_by, revision, staged, exclusions FROM assignments;
DROP TABLE assignments;
ALTER TABLE assignments_wider RENAME TO assignments;

-- The signed repository: its newest state as JSON, and its files by the paths they have there.
CREATE TABLE artifact_repository (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    body     TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE TABLE artifact_metadata (
    path    TEXT PRIMARY KEY, -- "metadata/3.root.json"
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Files that the newest targets metadata names. Their bytes are blobs.
CREATE TABLE artifact_targets (
    name       TEXT PRIMARY KEY,
    sha256     BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('extension', 'release')),
    publisher  TEXT NOT NULL, -- of a release empty, as its type
    type       TEXT NOT NULL,
    version    TEXT NOT NULL,
    os         TEXT NOT NULL,
    arch       TEXT NOT NULL,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_targets_by_package ON artifact_targets (kind, publisher, type, version);

-- Releases of the agent that were ever published. One that was withdrawn is given to nobody new.
CREATE TABLE releases (
    version      TEXT PRIMARY KEY,
    sha256       BLOB NOT NULL,
    payload      BLOB NOT NULL,
    published_at INTEGER NOT NULL,
    withdrawn_at INTEGER
) STRICT, WITHOUT ROWID;

-- What each channel recommends.
CREATE TABLE release_channels (
    name       TEXT PRIMARY KEY,
    version    TEXT NOT NULL REFERENCES releases (version),
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    revision   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE extensions (
    name            TEXT NOT NULL,
    version         INTEGER NOT NULL,
    sha256          BLOB NOT NULL,
    publisher       TEXT NOT NULL,
    type            TEXT NOT NULL,
    package_version TEXT NOT NULL,
    payload         BLOB NOT NULL,
    secret_id       TEXT REFERENCES secrets (id), -- its protected settings
    created_at      INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;
CREATE INDEX extensions_by_secret ON extensions (secret_id) WHERE secret_id IS NOT NULL;

-- The newest version a name ever had: a number is not given to other content later.
CREATE TABLE extension_names (
    name         TEXT PRIMARY KEY,
    last_version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
