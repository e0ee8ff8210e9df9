//! Extensions: what is known of each version, and its bytes.

use muster_common::ids::SecretId;
use muster_domain::{
    extension::Extension,
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const BY_VERSION: &str = "SELECT name, version, sha256, publisher, type, package_version, created_at, \
                          created_by FROM extensions WHERE name = $1 AND version = $2";
const NEWEST: &str = "SELECT name, version, sha256, publisher, type, package_version, created_at, created_by \
                      FROM extensions WHERE name = $1 ORDER BY version DESC LIMIT 1";
const PAGE: &str = "SELECT name, version, sha256, publisher, type, package_version, created_at, created_by \
                    FROM extensions WHERE name > $1 OR (name = $1 AND version < $2) \
                    ORDER BY name, version DESC LIMIT $3";
const PAGE_OF_NAME: &str = "SELECT name, version, sha256, publisher, type, package_version, created_at, \
                            created_by FROM extensions WHERE name = $1 AND version < $2 \
                            ORDER BY version DESC LIMIT $3";

/// Reads extensions.
pub trait ReadExtensions: Reader {
    /// One version of an extension; `None`: the newest.
    ///
    /// # Errors
    /// If the store fails.
    fn extension_get(&mut self, name: &str, version: Option<u64>) -> Result<Option<Extension>, Error> {
        match version {
            Some(version) => self.row(BY_VERSION, params![name, version], decode),
            None => self.row(NEWEST, params![name], decode),
        }
    }

    /// The bytes of one version.
    ///
    /// # Errors
    /// If the store fails.
    fn extension_payload(&mut self, name: &str, version: u64) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT payload FROM extensions WHERE name = $1 AND version = $2";
        self.row(sql, params![name, version], |row| row.bytes("extension payload"))
    }

    /// One page of them, of one name or of all: by name, newest first.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    fn extension_list(&mut self, page: &Page, name: Option<&str>) -> Result<Listed<Extension>, Error> {
        page::of_versions(self, page, name, (PAGE, PAGE_OF_NAME), (decode, key_of))
    }

    /// The number for the next version of a name: never one that was given before.
    ///
    /// # Errors
    /// If the store fails.
    fn extension_next_version(&mut self, name: &str) -> Result<u64, Error> {
        let sql = "SELECT last_version FROM extension_names WHERE name = $1";
        let last = self.row(sql, params![name], |row| row.u64("last version"))?;
        Ok(last.unwrap_or(0) + 1)
    }
}

/// Writes extensions.
pub trait WriteExtensions: ReadExtensions + Writer {
    /// Adds a version with its bytes. Its protected settings must be there already.
    ///
    /// # Errors
    /// If this version is there already, or the store fails.
    fn extension_insert(
        &mut self,
        extension: &Extension,
        payload: &[u8],
        secret: Option<SecretId>,
    ) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO extensions (name, version, sha256, publisher, type, package_version, \
                           payload, secret_id, created_at, created_by) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        const NAME: &str = "INSERT INTO extension_names (name, last_version) VALUES ($1, $2) \
                            ON CONFLICT (name) DO UPDATE SET last_version = excluded.last_version \
                            WHERE excluded.last_version > extension_names.last_version";
        self.needs_audit("an extension");
        self.changed(ChangeKind::Extension, key_of(extension));
        let row = params![
            &extension.name,
            extension.version,
            &extension.sha256,
            &extension.publisher,
            &extension.of_type,
            &extension.package_version,
            payload,
            secret.map(|id| id.to_string()),
            extension.created_at,
            &extension.created_by,
        ];
        self.execute(SQL, row)?;
        self.execute(NAME, params![&extension.name, extension.version]).map(drop)
    }

    /// Deletes one version, or all versions of a name. How many there were.
    ///
    /// # Errors
    /// If the store fails.
    fn extension_delete(&mut self, name: &str, version: Option<u64>) -> Result<usize, Error> {
        const SQL: &str = "SELECT version FROM extensions WHERE name = $1 ORDER BY version";
        let all = self.rows(SQL, params![name], |row| row.u64("extension version"))?;
        let gone: Vec<u64> = all.into_iter().filter(|it| version.is_none_or(|which| which == *it)).collect();
        for version in &gone {
            self.needs_audit("an extension");
            self.changed(ChangeKind::Extension, page::version(name, *version));
            let sql = "DELETE FROM extensions WHERE name = $1 AND version = $2";
            self.execute(sql, params![name, *version])?;
        }
        Ok(gone.len())
    }
}

fn decode(row: &mut Row) -> Result<Extension, Error> {
    Ok(Extension {
        name: row.text("extension name")?,
        version: row.u64("extension version")?,
        sha256: row.sha256("extension hash")?,
        publisher: row.text("publisher")?,
        of_type: row.text("type")?,
        package_version: row.text("package_version")?,
        created_at: row.millis("created_at")?,
        created_by: row.text("created_by")?,
    })
}

fn key_of(extension: &Extension) -> String {
    page::version(&extension.name, extension.version)
}

impl ReadExtensions for ReadTx<'_> {}
impl ReadExtensions for WriteTx<'_> {}
impl WriteExtensions for WriteTx<'_> {}
