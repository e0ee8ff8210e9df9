-- Bytes known by their digest. They themselves are in the blob storage; what
-- stands here says whether they can be had. They are not on the change feed:
-- nobody keeps them in memory.
CREATE TABLE blobs (
    sha256             BLOB PRIMARY KEY,
    size_bytes         INTEGER NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('arriving', 'here', 'leaving')),
    created_at         INTEGER NOT NULL,
    created_by         TEXT NOT NULL,
    unreferenced_since INTEGER -- NULL: something refers to it
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_unreferenced ON blobs (unreferenced_since) WHERE unreferenced_since IS NOT NULL;

-- Who needs a blob: "bundle/NAME/VERSION". Written with the referrer itself; a
-- blob that is referred to cannot be deleted.
CREATE TABLE blob_references (
    sha256   BLOB NOT NULL REFERENCES blobs (sha256),
    referrer TEXT NOT NULL,
    PRIMARY KEY (sha256, referrer)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_references_by_referrer ON blob_references (referrer, sha256);

-- Uploads that are not whole. How far one is, its file says.
CREATE TABLE blob_uploads (
    id         TEXT PRIMARY KEY,
    sha256     BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_uploads_by_end ON blob_uploads (expires_at);
