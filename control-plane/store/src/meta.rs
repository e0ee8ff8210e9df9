//! What the store says of itself.

use crate::{
    changes::ChangeKind,
    engine::params,
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Under which name it is kept which part of the calls is traced.
const TRACE_SAMPLING: &str = "trace-sampling";

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

    /// Which part of the calls is traced, in place of what the configurations say. `None`: they
    /// say it.
    ///
    /// # Errors
    /// If the store fails.
    fn trace_sampling(&mut self) -> Result<Option<f64>, Error> {
        let sql = "SELECT value FROM meta WHERE name = $1";
        let Some(text) = self.row(sql, params![TRACE_SAMPLING], |row| row.text(TRACE_SAMPLING))? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| Error::row(TRACE_SAMPLING, text))
    }
}

/// Writes what the store says of all processes that serve it.
pub trait WriteMeta: ReadMeta + Writer {
    /// Sets which part of the calls is traced. `None`: what the configurations say.
    ///
    /// # Errors
    /// If the store fails.
    fn trace_sampling_set(&mut self, ratio: Option<f64>) -> Result<(), Error> {
        self.needs_audit("the sampling of traces");
        self.changed(ChangeKind::Traces, "sampling".to_owned());
        self.execute("DELETE FROM meta WHERE name = $1", params![TRACE_SAMPLING])?;
        if let Some(ratio) = ratio {
            let sql = "INSERT INTO meta (name, value) VALUES ($1, $2)";
            self.execute(sql, params![TRACE_SAMPLING, ratio.to_string()])?;
        }
        Ok(())
    }
}

fn meta<R: Reader + ?Sized>(tx: &mut R, name: &'static str) -> Result<String, Error> {
    let value = tx.row("SELECT value FROM meta WHERE name = $1", params![name], |row| row.text(name))?;
    value.ok_or_else(|| Error::row(name, "none"))
}

impl ReadMeta for ReadTx<'_> {}
impl ReadMeta for WriteTx<'_> {}
impl WriteMeta for WriteTx<'_> {}
