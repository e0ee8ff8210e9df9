//! The store's histories: each restore from a backup ends one and begins another.

use muster_common::clock::UnixMillis;
use muster_domain::history::{Ended, History};

use crate::{
    engine::params,
    error::Error,
    meta::ReadMeta,
    tx::{ReadTx, WriteTx, Writer},
};

/// Reads histories.
pub trait ReadHistories: ReadMeta {
    /// All of them.
    ///
    /// # Errors
    /// If the store fails.
    fn history(&mut self) -> Result<History, Error> {
        let sql = "SELECT epoch, revision, taken_at, restored_at FROM ended_histories ORDER BY epoch";
        let ended = self.rows(sql, &[], |row| {
            Ok(Ended {
                epoch: row.u64("epoch")?,
                revision: row.u64("revision")?,
                taken_at: row.millis("taken_at")?,
                restored_at: row.millis("restored_at")?,
            })
        })?;
        Ok(History { epoch: self.epoch()?, ended })
    }
}

/// Writes histories.
pub trait WriteHistories: ReadHistories + Writer {
    /// Ends the history that goes on, where the store is now, and begins another one.
    ///
    /// # Errors
    /// If the store fails.
    fn history_begin(&mut self, epoch: u64, taken_at: UnixMillis, now: UnixMillis) -> Result<(), Error> {
        const SQL: &str =
            "INSERT INTO ended_histories (epoch, revision, taken_at, restored_at) VALUES ($1, $2, $3, $4)";
        self.needs_audit("a restore");
        let (ended, revision) = (self.epoch()?, self.revision()?);
        self.execute(SQL, params![ended, revision, taken_at, now])?;
        self.execute("UPDATE meta SET value = $1 WHERE name = 'epoch'", params![epoch.to_string()])?;
        Ok(())
    }
}

impl ReadHistories for ReadTx<'_> {}
impl ReadHistories for WriteTx<'_> {}
impl WriteHistories for WriteTx<'_> {}
