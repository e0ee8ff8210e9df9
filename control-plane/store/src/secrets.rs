//! Protected contents of bundles and extensions, and what receivers of alerts know deliveries by. They come encrypted and go encrypted: no key is in here.

use muster_common::ids::SecretId;
use muster_domain::secret::{Secret, SecretUse};

use crate::{
    engine::{Row, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const OF_BUNDLE: &str = "SELECT id, key_id, sealed FROM secrets WHERE id IN \
                         (SELECT secret_id FROM bundle_secrets WHERE name = $1 AND version = $2) ORDER BY id";
const IN_BUNDLES: &str = "SELECT id, key_id, sealed FROM secrets WHERE id = $1 AND id IN \
                          (SELECT secret_id FROM bundle_secrets WHERE name = $2)";
const OF_EXTENSION: &str = "SELECT id, key_id, sealed FROM secrets WHERE id IN \
                            (SELECT secret_id FROM extensions WHERE name = $1 AND version = $2)";
const IN_EXTENSIONS: &str = "SELECT id, key_id, sealed FROM secrets WHERE id = $1 AND id IN \
                             (SELECT secret_id FROM extensions WHERE name = $2)";
const OF_RECEIVER: &str = "SELECT id, key_id, sealed FROM secrets WHERE id IN \
                           (SELECT secret_id FROM alert_receivers WHERE name = $1)";
const OTHER_KEYS: &str = "SELECT id, key_id, sealed FROM secrets WHERE key_id <> $1 ORDER BY id";
const OF_ISSUER: &str = "SELECT id, key_id, sealed FROM secrets WHERE id IN \
                         (SELECT secret_id FROM workload_issuers WHERE number = $1)";

/// Reads protected contents.
pub trait ReadSecrets: Reader {
    /// All of one version of a bundle.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_of_bundle(&mut self, name: &str, version: u64) -> Result<Vec<Secret>, Error> {
        self.rows(OF_BUNDLE, params![name, version], decode)
    }

    /// That of one version of an extension.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_of_extension(&mut self, name: &str, version: u64) -> Result<Option<Secret>, Error> {
        self.row(OF_EXTENSION, params![name, version], decode)
    }

    /// One, if some version of this extension has it.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_in_extensions(&mut self, id: SecretId, name: &str) -> Result<Option<Secret>, Error> {
        self.row(IN_EXTENSIONS, params![id.to_string(), name], decode)
    }

    /// The keys of an issuer of programs' identities.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_of_issuer(&mut self, number: u32) -> Result<Option<Secret>, Error> {
        self.row(OF_ISSUER, params![number], decode)
    }

    /// That of one receiver of alerts.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_of_receiver(&mut self, name: &str) -> Result<Option<Secret>, Error> {
        self.row(OF_RECEIVER, params![name], decode)
    }

    /// Which file of a version has which.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_uses(&mut self, name: &str, version: u64) -> Result<Vec<SecretUse>, Error> {
        let sql = "SELECT secret_id, path FROM bundle_secrets WHERE name = $1 AND version = $2 ORDER BY path";
        self.rows(sql, params![name, version], |row| {
            Ok(SecretUse { id: row.parsed("secret id")?, path: row.text("path")? })
        })
    }

    /// One, if some version of this bundle has it.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_in_bundles(&mut self, id: SecretId, name: &str) -> Result<Option<Secret>, Error> {
        self.row(IN_BUNDLES, params![id.to_string(), name], decode)
    }

    /// All that another key than this one has encrypted.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_under_other_keys(&mut self, key_id: &str) -> Result<Vec<Secret>, Error> {
        self.rows(OTHER_KEYS, params![key_id], decode)
    }

    /// The keys that are needed, and how many contents each has encrypted. Without those of issuers:
    /// who has lost the key that encrypted these encrypts them anew.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_keys(&mut self) -> Result<Vec<(String, u64)>, Error> {
        let sql = "SELECT key_id, COUNT(*) FROM secrets WHERE id NOT IN \
                   (SELECT secret_id FROM workload_issuers WHERE secret_id IS NOT NULL) \
                   GROUP BY key_id ORDER BY key_id";
        self.rows(sql, &[], |row| Ok((row.text("key id")?, row.u64("count")?)))
    }
}

/// Writes protected contents.
pub trait WriteSecrets: ReadSecrets + Writer {
    /// Adds one, or puts the same content under another key in its place.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_put(&mut self, secret: &Secret) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO secrets (id, key_id, sealed) VALUES ($1, $2, $3) \
                           ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed";
        self.needs_audit("a protected content");
        let row = params![secret.id.to_string(), &secret.key_id, secret.sealed.as_slice()];
        self.execute(SQL, row).map(drop)
    }

    /// A file of a version that is there already has a content that is there already.
    ///
    /// # Errors
    /// If one of them is not, or the store fails.
    fn secret_use(&mut self, name: &str, version: u64, used: &SecretUse) -> Result<(), Error> {
        const SQL: &str =
            "INSERT INTO bundle_secrets (name, version, path, secret_id) VALUES ($1, $2, $3, $4)";
        self.needs_audit("a protected content");
        self.execute(SQL, params![name, version, &used.path, used.id.to_string()]).map(drop)
    }

    /// Deletes what no version, no issuer, and no receiver of alerts has any more.
    ///
    /// # Errors
    /// If the store fails.
    fn secret_sweep(&mut self) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM secrets WHERE id NOT IN (SELECT secret_id FROM bundle_secrets) AND \
                           id NOT IN (SELECT secret_id FROM extensions WHERE secret_id IS NOT NULL) AND \
                           id NOT IN (SELECT secret_id FROM workload_issuers WHERE secret_id IS NOT NULL) AND \
                           id NOT IN (SELECT secret_id FROM alert_receivers WHERE secret_id IS NOT NULL)";
        self.execute(SQL, &[]).map(drop)
    }
}

fn decode(row: &mut Row) -> Result<Secret, Error> {
    Ok(Secret { id: row.parsed("secret id")?, key_id: row.text("key id")?, sealed: row.bytes("secret")? })
}

impl ReadSecrets for ReadTx<'_> {}
impl ReadSecrets for WriteTx<'_> {}
impl WriteSecrets for WriteTx<'_> {}
