//! Bundles: what is known of each version, and its bytes.

use muster_domain::{
    bundle::Bundle,
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const BY_VERSION: &str = "SELECT name, version, sha256, size_bytes, created_at, created_by FROM bundles \
                          WHERE name = $1 AND version = $2";
const NEWEST: &str = "SELECT name, version, sha256, size_bytes, created_at, created_by FROM bundles \
                      WHERE name = $1 ORDER BY version DESC LIMIT 1";
const ALL: &str = "SELECT name, version, sha256, size_bytes, created_at, created_by FROM bundles \
                   ORDER BY name, version DESC";
const PAGE: &str = "SELECT name, version, sha256, size_bytes, created_at, created_by FROM bundles \
                    WHERE name > $1 OR (name = $1 AND version < $2) ORDER BY name, version DESC LIMIT $3";
const PAGE_OF_NAME: &str = "SELECT name, version, sha256, size_bytes, created_at, created_by FROM bundles \
                            WHERE name = $1 AND version < $2 ORDER BY version DESC LIMIT $3";

/// Reads bundles.
pub trait ReadBundles: Reader {
    /// One version of a bundle; `None`: the newest.
    ///
    /// # Errors
    /// If the store fails.
    fn bundle_get(&mut self, name: &str, version: Option<u64>) -> Result<Option<Bundle>, Error> {
        match version {
            Some(version) => self.row(BY_VERSION, params![name, version], decode),
            None => self.row(NEWEST, params![name], decode),
        }
    }

    /// The bytes of one version.
    ///
    /// # Errors
    /// If the store fails.
    fn bundle_payload(&mut self, name: &str, version: u64) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT payload FROM bundle_payloads WHERE name = $1 AND version = $2";
        self.row(sql, params![name, version], |row| row.bytes("bundle payload"))
    }

    /// All versions of all bundles, by name, newest first.
    ///
    /// # Errors
    /// If the store fails.
    fn bundle_all(&mut self) -> Result<Vec<Bundle>, Error> {
        self.rows(ALL, &[], decode)
    }

    /// One page of them, of one name or of all: by name, newest first.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    fn bundle_list(&mut self, page: &Page, name: Option<&str>) -> Result<Listed<Bundle>, Error> {
        page::of_versions(self, page, name, (PAGE, PAGE_OF_NAME), (decode, key_of))
    }

    /// The number for the next version of a name: never one that was given before.
    ///
    /// # Errors
    /// If the store fails.
    fn bundle_next_version(&mut self, name: &str) -> Result<u64, Error> {
        let sql = "SELECT last_version FROM bundle_names WHERE name = $1";
        let last = self.row(sql, params![name], |row| row.u64("last version"))?;
        Ok(last.unwrap_or(0) + 1)
    }
}

/// Writes bundles.
pub trait WriteBundles: ReadBundles + Writer {
    /// Adds a version with its bytes.
    ///
    /// # Errors
    /// If this version is there already, or the store fails.
    fn bundle_insert(&mut self, bundle: &Bundle, payload: &[u8]) -> Result<(), Error> {
        const BUNDLE: &str = "INSERT INTO bundles (name, version, sha256, size_bytes, created_at, created_by) \
                              VALUES ($1, $2, $3, $4, $5, $6)";
        const PAYLOAD: &str = "INSERT INTO bundle_payloads (name, version, payload) VALUES ($1, $2, $3)";
        const NAME: &str = "INSERT INTO bundle_names (name, last_version) VALUES ($1, $2) \
                            ON CONFLICT (name) DO UPDATE SET last_version = excluded.last_version \
                            WHERE excluded.last_version > bundle_names.last_version";
        self.needs_audit("a bundle");
        self.changed(ChangeKind::Bundle, key_of(bundle));
        let row = params![
            &bundle.name,
            bundle.version,
            &bundle.sha256,
            bundle.size_bytes,
            bundle.created_at,
            &bundle.created_by,
        ];
        self.execute(BUNDLE, row)?;
        self.put(PAYLOAD, params![&bundle.name, bundle.version, payload])?;
        self.put(NAME, params![&bundle.name, bundle.version])
    }

    /// Deletes one version, or all versions of a name. Which there were.
    ///
    /// # Errors
    /// If the store fails.
    fn bundle_delete(&mut self, name: &str, version: Option<u64>) -> Result<Vec<u64>, Error> {
        let versions = match version {
            Some(version) => vec![version],
            None => self.rows("SELECT version FROM bundles WHERE name = $1", params![name], |row| {
                row.u64("bundle version")
            })?,
        };
        let mut deleted = Vec::new();
        for version in versions {
            let sql = "DELETE FROM bundles WHERE name = $1 AND version = $2";
            if self.execute(sql, params![name, version])? > 0 {
                deleted.push(version);
                self.needs_audit("a bundle");
                self.changed(ChangeKind::Bundle, format!("{name}/{version}"));
            }
        }
        Ok(deleted)
    }
}

fn decode(row: &mut Row) -> Result<Bundle, Error> {
    Ok(Bundle {
        name: row.text("bundle name")?,
        version: row.u64("bundle version")?,
        sha256: row.sha256("bundle hash")?,
        size_bytes: row.u64("size_bytes")?,
        created_at: row.millis("created_at")?,
        created_by: row.text("created_by")?,
    })
}

fn key_of(bundle: &Bundle) -> String {
    page::version(&bundle.name, bundle.version)
}

impl ReadBundles for ReadTx<'_> {}
impl ReadBundles for WriteTx<'_> {}
impl WriteBundles for WriteTx<'_> {}
