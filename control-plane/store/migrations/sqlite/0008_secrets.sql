-- Protected contents of bundles, encrypted under a key that is not in here.
CREATE TABLE secrets (
    id     TEXT PRIMARY KEY,
    key_id TEXT NOT NULL, -- of the vault
    sealed BLOB NOT NULL  -- nonce, ciphertext and tag
) STRICT, WITHOUT ROWID;

-- Which file of which version has one. A content that no version has any more goes.
CREATE TABLE bundle_secrets (
    name      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    path      TEXT NOT NULL,
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    PRIMARY KEY (name, version, path),
    FOREIGN KEY (name, version) REFERENCES bundles (name, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_secrets_by_secret ON bundle_secrets (secret_id);
