//! The processes that serve this store.

use muster_common::ids::ReplicaId;
use muster_domain::replica::{Replica, Silent};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads replicas.
pub trait ReadReplicas: Reader {
    /// All that serve the store, as far as anybody knows, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn replica_all(&mut self) -> Result<Vec<Replica>, Error> {
        const SQL: &str = "SELECT name, id, version, started_at, beat, beat_at, addresses, sessions, revision, leads \
                           FROM replicas ORDER BY name";
        self.rows(SQL, &[], decode)
    }
}

/// Writes replicas. Beats are not on the feed: who wants to know them looks.
pub trait WriteReplicas: ReadReplicas + Writer {
    /// Puts one in the place of the one of its name.
    ///
    /// # Errors
    /// If the store fails.
    fn replica_put(&mut self, replica: &Replica) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO replicas (name, id, version, started_at, beat, beat_at, addresses, \
                           sessions, revision, leads) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                           ON CONFLICT (name) DO UPDATE SET id = excluded.id, version = excluded.version, \
                           started_at = excluded.started_at, beat = excluded.beat, beat_at = excluded.beat_at, \
                           addresses = excluded.addresses, sessions = excluded.sessions, \
                           revision = excluded.revision, leads = excluded.leads";
        let row = params![
            &replica.name,
            replica.id,
            &replica.version,
            replica.started_at,
            replica.beat,
            replica.beat_at,
            json(&replica.addresses),
            replica.sessions,
            replica.revision,
            replica.leads,
        ];
        self.put(SQL, row)
    }

    /// Takes one away that is lost, and frees the nodes it held; not if it has beaten since.
    /// Whether it was there.
    ///
    /// # Errors
    /// If the store fails.
    fn replica_lose(&mut self, silent: Silent) -> Result<bool, Error> {
        let sql = "DELETE FROM replicas WHERE id = $1 AND beat = $2";
        let found = self.execute(sql, params![silent.id, silent.beat])? > 0;
        if found {
            self.needs_audit("a replica that is lost");
            free(self, silent.id)?;
        }
        Ok(found)
    }

    /// Frees the nodes of those that are not there: who was lost may have written before it knew.
    ///
    /// # Errors
    /// If the store fails.
    fn replica_free_strays(&mut self) -> Result<(), Error> {
        const SQL: &str = "SELECT DISTINCT replica_id FROM node_sessions \
                           WHERE replica_id NOT IN (SELECT id FROM replicas)";
        let strays: Vec<ReplicaId> = self.rows(SQL, &[], |row| row.parsed("replica id"))?;
        strays.into_iter().try_for_each(|stray| free(self, stray))
    }

    /// Takes one away that ends, or is another run by now, and frees the nodes it held.
    ///
    /// # Errors
    /// If the store fails.
    fn replica_end(&mut self, id: ReplicaId) -> Result<(), Error> {
        self.execute("DELETE FROM replicas WHERE id = $1", params![id])?;
        free(self, id)
    }
}

/// Nobody holds the nodes that it held.
fn free<W: Writer + ?Sized>(tx: &mut W, id: ReplicaId) -> Result<(), Error> {
    const FEED: &str = "INSERT INTO changes (revision, kind, id) \
                        SELECT $1, $2, node_id FROM node_sessions WHERE replica_id = $3";
    let held =
        tx.row("SELECT 1 FROM node_sessions WHERE replica_id = $1 LIMIT 1", params![id], |_| Ok(()))?;
    if held.is_none() {
        return Ok(());
    }
    let revision = tx.own_revision();
    tx.execute(FEED, params![revision, ChangeKind::NodeSession.as_str(), id])?;
    tx.execute("DELETE FROM node_sessions WHERE replica_id = $1", params![id])?;
    Ok(())
}

fn decode(row: &mut Row) -> Result<Replica, Error> {
    Ok(Replica {
        name: row.text("replica")?,
        id: row.parsed("replica id")?,
        version: row.text("version")?,
        started_at: row.millis("started_at")?,
        beat: row.u64("beat")?,
        beat_at: row.millis("beat_at")?,
        addresses: row.json("addresses")?,
        sessions: row.u64("sessions")?,
        revision: row.u64("revision")?,
        leads: row.bool("leads")?,
    })
}

impl ReadReplicas for ReadTx<'_> {}
impl ReadReplicas for WriteTx<'_> {}
impl WriteReplicas for WriteTx<'_> {}
