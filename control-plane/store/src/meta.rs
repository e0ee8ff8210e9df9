//! What the store says of itself.

use crate::{
    engine::params,
    error::Error,
    tx::{ReadTx, Reader, WriteTx},
};

/// Reads what the store says of itself.
pub trait ReadMeta: Reader {
    /// Number of the history; it rises when the store is restored from a backup.
    ///
    /// # Errors
    /// If the store fails.
    fn epoch(&mut self) -> Result<u64, Error> {
        let epoch = meta(self, "epoch")?;
        epoch.parse().map_err(|_| Error::row("epoch", epoch))
    }

    /// The trust domain all its identities are of.
    ///
    /// # Errors
    /// If the store fails.
    fn trust_domain(&mut self) -> Result<String, Error> {
        meta(self, "trust-domain")
    }

    /// The newest revision. Inside a write, `WriteTx::revision` is that of the write itself.
    ///
    /// # Errors
    /// If the store fails.
    fn revision(&mut self) -> Result<u64, Error> {
        let revision = self.row("SELECT revision FROM feed", &[], |row| row.u64("revision"))?;
        revision.ok_or_else(|| Error::row("revision row", "none"))
    }

    /// Which schema the database has.
    ///
    /// # Errors
    /// If the store fails.
    fn schema_version(&mut self) -> Result<u64, Error> {
        let version =
            self.row("SELECT MAX(version) FROM migrations", &[], |row| row.u64("schema version"))?;
        Ok(version.unwrap_or(0))
    }
}

fn meta<R: Reader + ?Sized>(tx: &mut R, name: &'static str) -> Result<String, Error> {
    let value = tx.row("SELECT value FROM meta WHERE name = $1", params![name], |row| row.text(name))?;
    value.ok_or_else(|| Error::row(name, "none"))
}

impl ReadMeta for ReadTx<'_> {}
impl ReadMeta for WriteTx<'_> {}
