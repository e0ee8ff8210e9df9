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
INSERT INTO meta (name, value) VALUES ('trust-bundle-version', '0');

-- How far a node is with the roots, how often it recovered, and why it is locked up.
ALTER TABLE node_status ADD COLUMN trust_bundle INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node_status ADD COLUMN recoveries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node_status ADD COLUMN quarantine TEXT; -- JSON

-- Which slot issued a certificate.
ALTER TABLE node_certificates ADD COLUMN issuer INTEGER NOT NULL DEFAULT 1;
ALTER TABLE node_certificates ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE callers ADD COLUMN issuer INTEGER NOT NULL DEFAULT 1;
ALTER TABLE callers ADD COLUMN not_after INTEGER NOT NULL DEFAULT 0;

-- Who is not let in, whatever certificate is shown.
CREATE TABLE revocations (
    subject TEXT PRIMARY KEY, -- "node/…", "operator/…", "service/…", "serial/…"
    reason  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    by      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
