//! Who is told of alerts.

use muster_domain::alert::Receiver;

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads receivers.
pub trait ReadReceivers: Reader {
    /// One receiver.
    ///
    /// # Errors
    /// If the store fails.
    fn receiver_get(&mut self, name: &str) -> Result<Option<Receiver>, Error> {
        let sql = "SELECT body, secret_id, revision FROM alert_receivers WHERE name = $1";
        self.row(sql, params![name], decode)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn receiver_all(&mut self) -> Result<Vec<Receiver>, Error> {
        self.rows("SELECT body, secret_id, revision FROM alert_receivers ORDER BY name", &[], decode)
    }
}

/// Writes receivers.
pub trait WriteReceivers: ReadReceivers + Writer {
    /// Makes a receiver, or puts this in the place of the one with its name. Its secret must be
    /// there. Its revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn receiver_put(&mut self, receiver: &Receiver) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO alert_receivers (name, body, secret_id, revision) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (name) DO UPDATE SET body = excluded.body, \
                           secret_id = excluded.secret_id, revision = excluded.revision";
        self.needs_audit("a receiver of alerts");
        self.changed(ChangeKind::Alert, format!("receiver/{}", receiver.name));
        let (revision, secret) = (self.own_revision(), receiver.secret.map(|id| id.to_string()));
        self.execute(SQL, params![&receiver.name, json(receiver), secret, revision]).map(drop)
    }

    /// Deletes a receiver, with all that it was to be told. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn receiver_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM alert_receivers WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("a receiver of alerts");
            self.changed(ChangeKind::Alert, format!("receiver/{name}"));
        }
        Ok(found)
    }
}

fn decode(row: &mut Row) -> Result<Receiver, Error> {
    let receiver: Receiver = row.json("receiver of alerts")?;
    Ok(Receiver { secret: row.opt_parsed("secret id")?, revision: row.u64("revision")?, ..receiver })
}

impl ReadReceivers for ReadTx<'_> {}
impl ReadReceivers for WriteTx<'_> {}
impl WriteReceivers for WriteTx<'_> {}
