-- Issuers of identities for programs on hosts: the public halves. The number of the newest
-- that ever was is in meta: it is not given again.
CREATE TABLE workload_issuers (
    number INTEGER PRIMARY KEY,
    standing TEXT NOT NULL,
    certificate_der BLOB NOT NULL,
    jwt_key_der BLOB NOT NULL,
    not_after INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
INSERT INTO meta (name, value) VALUES ('workload-issuers-newest', '0');
