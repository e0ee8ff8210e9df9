-- A profile has versions that never change, as bundles have. What was there is the
-- first version of each, and what was assigned is that one. Targets in JSON (of
-- rollouts, of what they have given) name no version where they mean the first.
CREATE TABLE profile_versions (
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    options    TEXT NOT NULL, -- JSON
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revision   INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
INSERT INTO profile_versions (name, version, options, created_at, created_by, revision)
    SELECT name, 1, options, updated_at, updated_by, revision FROM profiles;

-- The newest version a name ever had: a number is not given to other values
-- after its profile was deleted.
CREATE TABLE profile_names (
    name         TEXT PRIMARY KEY,
    last_version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO profile_names (name, last_version) SELECT name, 1 FROM profiles;

DROP TABLE profiles;
UPDATE assignments SET target_version = 1 WHERE target = 'settings';
