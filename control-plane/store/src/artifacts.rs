//! The signed repository: its newest state, its metadata files, and the files it names.

use muster_domain::{
    artifact::{Kind, Repository, Target},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads the repository.
pub trait ReadArtifacts: Reader {
    /// Its newest state, with the revision of its publication. `None`: nothing was ever published.
    ///
    /// # Errors
    /// If the store fails.
    fn repository_get(&mut self) -> Result<Option<(Repository, u64)>, Error> {
        let sql = "SELECT body, revision FROM artifact_repository WHERE id = 1";
        self.row(sql, &[], |row| Ok((row.json("repository")?, row.u64("revision")?)))
    }

    /// A metadata file, by its path.
    ///
    /// # Errors
    /// If the store fails.
    fn metadata_get(&mut self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT content FROM artifact_metadata WHERE path = $1";
        self.row(sql, params![path], |row| row.bytes("metadata"))
    }

    /// The paths of all metadata files.
    ///
    /// # Errors
    /// If the store fails.
    fn metadata_paths(&mut self) -> Result<Vec<String>, Error> {
        self.rows("SELECT path FROM artifact_metadata ORDER BY path", &[], |row| row.text("path"))
    }

    /// A file that the repository names.
    ///
    /// # Errors
    /// If the store fails.
    fn target_get(&mut self, name: &str) -> Result<Option<Target>, Error> {
        const SQL: &str = "SELECT name, sha256, size_bytes, kind, publisher, type, version, os, arch, \
                           since FROM artifact_targets WHERE name = $1";
        self.row(SQL, params![name], decode)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn target_all(&mut self) -> Result<Vec<Target>, Error> {
        const SQL: &str = "SELECT name, sha256, size_bytes, kind, publisher, type, version, os, arch, \
                           since FROM artifact_targets ORDER BY name";
        self.rows(SQL, &[], decode)
    }

    /// One page of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn target_list(&mut self, page: &Page) -> Result<Listed<Target>, Error> {
        const SQL: &str = "SELECT name, sha256, size_bytes, kind, publisher, type, version, os, arch, \
                           since FROM artifact_targets WHERE name > $1 ORDER BY name LIMIT $2";
        let rows = self.rows(SQL, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |target| target.name.clone()))
    }

    /// The files of a package, of all versions: one of an extension, or the agent with empty
    /// publisher and type.
    ///
    /// # Errors
    /// If the store fails.
    fn target_of_package(
        &mut self,
        kind: Kind,
        publisher: &str,
        of_type: &str,
    ) -> Result<Vec<Target>, Error> {
        const SQL: &str = "SELECT name, sha256, size_bytes, kind, publisher, type, version, os, arch, \
                           since FROM artifact_targets \
                           WHERE kind = $1 AND publisher = $2 AND type = $3 ORDER BY name";
        self.rows(SQL, params![kind.as_str(), publisher, of_type], decode)
    }
}

/// Writes the repository.
pub trait WriteArtifacts: ReadArtifacts + Writer {
    /// Puts another state in the place of the newest.
    ///
    /// # Errors
    /// If the store fails.
    fn repository_put(&mut self, repository: &Repository) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO artifact_repository (id, body, revision) VALUES (1, $1, $2) \
                           ON CONFLICT (id) DO UPDATE SET body = excluded.body, revision = excluded.revision";
        self.needs_audit("the repository");
        self.changed(ChangeKind::Artifacts, "repository".to_owned());
        let revision = self.own_revision();
        self.execute(SQL, params![json(repository), revision]).map(drop)
    }

    /// Adds a metadata file, or puts this in the place of the one at its path.
    ///
    /// # Errors
    /// If the store fails.
    fn metadata_put(&mut self, path: &str, content: &[u8]) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO artifact_metadata (path, content) VALUES ($1, $2) \
                           ON CONFLICT (path) DO UPDATE SET content = excluded.content";
        self.needs_audit("the repository");
        self.execute(SQL, params![path, content]).map(drop)
    }

    /// Forgets a metadata file.
    ///
    /// # Errors
    /// If the store fails.
    fn metadata_delete(&mut self, path: &str) -> Result<(), Error> {
        self.needs_audit("the repository");
        self.execute("DELETE FROM artifact_metadata WHERE path = $1", params![path]).map(drop)
    }

    /// Puts these in the place of all files that it named.
    ///
    /// # Errors
    /// If the store fails.
    fn target_replace(&mut self, targets: &[Target]) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO artifact_targets (name, sha256, size_bytes, kind, publisher, type, \
                           version, os, arch, since) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        self.needs_audit("the repository");
        self.execute("DELETE FROM artifact_targets", &[])?;
        for target in targets {
            let row = params![
                &target.name,
                &target.sha256,
                target.size_bytes,
                target.kind.as_str(),
                &target.publisher,
                &target.of_type,
                &target.version,
                &target.os,
                &target.arch,
                target.since,
            ];
            self.put(SQL, row)?;
        }
        Ok(())
    }
}

fn decode(row: &mut Row) -> Result<Target, Error> {
    Ok(Target {
        name: row.text("target name")?,
        sha256: row.sha256("target hash")?,
        size_bytes: row.u64("size_bytes")?,
        kind: row.word("target kind", Kind::parse)?,
        publisher: row.text("publisher")?,
        of_type: row.text("type")?,
        version: row.text("version")?,
        os: row.text("os")?,
        arch: row.text("arch")?,
        since: row.millis("since")?,
    })
}

impl ReadArtifacts for ReadTx<'_> {}
impl ReadArtifacts for WriteTx<'_> {}
impl WriteArtifacts for WriteTx<'_> {}
