//! Which replica holds the session of which node. Where one process has the store for
//! itself, nothing of it is written.

use muster_common::ids::{NodeId, ReplicaId};
use muster_domain::session::HeldBy;

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads who holds nodes.
pub trait ReadNodeSessions: Reader {
    /// All nodes that are held, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn node_session_all(&mut self) -> Result<Vec<(NodeId, HeldBy)>, Error> {
        let sql = "SELECT node_id, replica_id, session FROM node_sessions ORDER BY node_id";
        self.rows(sql, &[], decode)
    }

    /// The nodes of which something was told after `from`, up to `upto`, and that are held
    /// now; by id.
    ///
    /// # Errors
    /// If the store fails.
    fn node_session_told(&mut self, from: u64, upto: u64) -> Result<Vec<(NodeId, HeldBy)>, Error> {
        const SQL: &str = "SELECT node_id, replica_id, session FROM node_sessions WHERE node_id IN \
                           (SELECT id FROM changes WHERE revision > $1 AND revision <= $2 \
                           AND kind IN ('node-report', 'node-session')) ORDER BY node_id";
        self.rows(SQL, params![from, upto], decode)
    }

    /// Who holds a node.
    ///
    /// # Errors
    /// If the store fails.
    fn node_session_get(&mut self, node: NodeId) -> Result<Option<HeldBy>, Error> {
        let sql = "SELECT node_id, replica_id, session FROM node_sessions WHERE node_id = $1";
        Ok(self.row(sql, params![node], decode)?.map(|(_, held)| held))
    }

    /// The nodes that another than `replica` took after a revision, and when.
    ///
    /// # Errors
    /// If the store fails.
    fn node_session_taken_by_others(
        &mut self,
        replica: ReplicaId,
        after: u64,
    ) -> Result<Vec<(NodeId, u64)>, Error> {
        let sql = "SELECT node_id, revision FROM node_sessions WHERE revision > $1 AND replica_id <> $2";
        self.rows(sql, params![after, replica], |row| Ok((row.parsed("node id")?, row.u64("revision")?)))
    }
}

/// Writes who holds nodes.
pub trait WriteNodeSessions: ReadNodeSessions + Writer {
    /// A replica holds a node from now on, whoever held it before.
    ///
    /// # Errors
    /// If the store fails.
    fn node_session_put(&mut self, node: NodeId, held: &HeldBy) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO node_sessions (node_id, replica_id, session, revision) \
                           SELECT id, $1, $2, $3 FROM nodes WHERE id = $4 \
                           ON CONFLICT (node_id) DO UPDATE SET replica_id = excluded.replica_id, \
                           session = excluded.session, revision = excluded.revision";
        let revision = self.own_revision();
        self.changed(ChangeKind::NodeSession, node.to_string());
        self.put(SQL, params![held.replica, held.session.as_ref().map(json), revision, node])
    }

    /// A replica holds a node no longer. Nothing happens if it is another's by now.
    ///
    /// # Errors
    /// If the store fails.
    fn node_session_end(&mut self, node: NodeId, replica: ReplicaId) -> Result<(), Error> {
        self.changed(ChangeKind::NodeSession, node.to_string());
        self.put("DELETE FROM node_sessions WHERE node_id = $1 AND replica_id = $2", params![node, replica])
    }

    /// Something of a node changed that only replicas ask for.
    fn node_session_changed(&mut self, node: NodeId) {
        self.changed(ChangeKind::NodeSession, node.to_string());
    }
}

fn decode(row: &mut Row) -> Result<(NodeId, HeldBy), Error> {
    let node = row.parsed("node id")?;
    let held = HeldBy { replica: row.parsed("replica id")?, session: row.opt_json("session")? };
    Ok((node, held))
}

impl ReadNodeSessions for ReadTx<'_> {}
impl ReadNodeSessions for WriteTx<'_> {}
impl WriteNodeSessions for WriteTx<'_> {}
