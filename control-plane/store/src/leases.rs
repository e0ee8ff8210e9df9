//! Concurrency leases. How many of their places are taken is counted from commands, so
//! that no place can be lost or given twice.

use muster_domain::{
    lease::{InFlight, Lease},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads leases.
pub trait ReadLeases: Reader {
    /// One lease.
    ///
    /// # Errors
    /// If the store fails.
    fn lease_get(&mut self, name: &str) -> Result<Option<Lease>, Error> {
        let sql = "SELECT body, revision FROM concurrency_leases WHERE name = $1";
        self.row(sql, params![name], decode)
    }

    /// All leases, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn lease_all(&mut self) -> Result<Vec<Lease>, Error> {
        self.rows("SELECT body, revision FROM concurrency_leases ORDER BY name", &[], decode)
    }

    /// One page of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn lease_list(&mut self, page: &Page) -> Result<Listed<Lease>, Error> {
        let sql = "SELECT body, revision FROM concurrency_leases WHERE name > $1 ORDER BY name LIMIT $2";
        let rows = self.rows(sql, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |lease| lease.name.clone()))
    }

    /// All commands that are delivered or running, by what they take places for.
    ///
    /// # Errors
    /// If the store fails.
    fn command_in_flight(&mut self) -> Result<Vec<InFlight>, Error> {
        // The condition is that of the index of commands in flight, word for word.
        const SQL: &str = "SELECT operations.kind, operations.lease, flying.commands FROM \
                           (SELECT operation_id, COUNT(*) AS commands FROM commands \
                           WHERE state IN ('delivered', 'running') GROUP BY operation_id) AS flying \
                           JOIN operations ON operations.id = flying.operation_id";
        self.rows(SQL, &[], |row| {
            Ok(InFlight {
                kind: row.text("operation kind")?,
                lease: row.opt_text("lease")?,
                count: row.u32("count of commands")?,
            })
        })
    }

    /// Whether an operation that has not ended names a lease.
    ///
    /// # Errors
    /// If the store fails.
    fn lease_is_named(&mut self, name: &str) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM operations WHERE lease = $1 AND ended_at IS NULL LIMIT 1";
        Ok(self.row(sql, params![name], |row| row.u32("one"))?.is_some())
    }
}

/// Writes leases.
pub trait WriteLeases: ReadLeases + Writer {
    /// Makes a lease, or puts this in the place of the one with its name. Its revision
    /// becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn lease_put(&mut self, lease: &Lease) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO concurrency_leases (name, body, revision) VALUES ($1, $2, $3) \
                           ON CONFLICT (name) DO UPDATE SET body = excluded.body, revision = excluded.revision";
        self.needs_audit("a concurrency lease");
        self.changed(ChangeKind::Lease, lease.name.clone());
        let (revision, body) = (self.own_revision(), json(lease));
        self.execute(SQL, params![&lease.name, &body, revision]).map(drop)
    }

    /// Deletes a lease. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn lease_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM concurrency_leases WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("a concurrency lease");
            self.changed(ChangeKind::Lease, name.to_owned());
        }
        Ok(found)
    }
}

fn decode(row: &mut Row) -> Result<Lease, Error> {
    let lease: Lease = row.json("concurrency lease")?;
    Ok(Lease { revision: row.u64("revision")?, ..lease })
}

impl ReadLeases for ReadTx<'_> {}
impl ReadLeases for WriteTx<'_> {}
impl WriteLeases for WriteTx<'_> {}
