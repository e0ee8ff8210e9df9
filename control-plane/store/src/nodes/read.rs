//! Reading nodes whole.

use muster_common::{clock::UnixMillis, ids::NodeId};
use muster_domain::{
    assignment::Touch,
    certificate::{Issued, Leaf, NodeCertificate},
    enrolled_with::EnrolledWith,
    facts::Facts,
    liveness::{Liveness, State},
    node::{LedgerMark, Node},
    page::{Listed, Page},
};

use crate::{
    engine::{Param, Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx},
};

macro_rules! nodes {
    ($rest:literal) => {
        concat!(
            "SELECT n.id, n.display_name, n.labels, f.facts, f.facts_sha256, s.liveness, s.liveness_since, \
             s.liveness_reason, s.ledger_id, s.ledger_seq, s.trust_bundle, s.recoveries, s.quarantine, s.kept, s.accepted, s.own_since, \
             n.enrolled_key_sha256, n.machine_fingerprint, n.enrolled_with, n.created_at, n.selector_revision, n.revision, \
             c.serial, c.generation, c.issuer, c.not_before, c.not_after, c.key_sha256, c.der, \
             x.serial, x.generation, x.issuer, x.not_before, x.not_after, x.key_sha256, x.der \
             FROM nodes n JOIN node_status s ON s.node_id = n.id JOIN node_facts f ON f.node_id = n.id \
             JOIN node_certificates c ON c.node_id = n.id AND c.is_next = 0 \
             LEFT JOIN node_certificates x ON x.node_id = n.id AND x.is_next = 1 ",
            $rest
        )
    };
}

/// Reads nodes.
pub trait ReadNodes: Reader {
    /// One node.
    ///
    /// # Errors
    /// If the store fails.
    fn node_get(&mut self, id: NodeId) -> Result<Option<Node>, Error> {
        Ok(nodes(self, nodes!("WHERE n.id = $1"), params![id])?.pop())
    }

    /// All nodes, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn node_all(&mut self) -> Result<Vec<Node>, Error> {
        nodes(self, nodes!("ORDER BY n.id"), &[])
    }

    /// The nodes of which something was told after `from`, up to `upto`, by id; without
    /// what rollouts have given to them.
    ///
    /// # Errors
    /// If the store fails.
    fn node_told(&mut self, from: u64, upto: u64) -> Result<Vec<Node>, Error> {
        const ITEMS: &str = "SELECT node_id, state FROM node_items WHERE node_id IN \
                             (SELECT id FROM changes WHERE revision > $1 AND revision <= $2 \
                             AND kind IN ('node-report', 'node-session')) ORDER BY node_id, item";
        let sql = nodes!(
            "WHERE n.id IN (SELECT id FROM changes WHERE revision > $1 AND revision <= $2 \
             AND kind IN ('node-report', 'node-session')) ORDER BY n.id"
        );
        let mut nodes = self.rows(sql, params![from, upto], decode)?;
        give(self, &mut nodes, ITEMS, params![from, upto], item)?;
        Ok(nodes)
    }

    /// One page of them, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn node_list(&mut self, page: &Page) -> Result<Listed<Node>, Error> {
        let sql = nodes!("WHERE n.id > $1 ORDER BY n.id LIMIT $2");
        let rows = nodes(self, sql, params![page::after(page), page::limit(page)])?;
        Ok(page::listed(page, rows, |node| node.id.to_string()))
    }

    /// The node that enrolled with this public key, by the key's SHA-256; the
    /// newest, if a host was enrolled again with the same key.
    ///
    /// # Errors
    /// If the store fails.
    fn node_by_enrolled_key(&mut self, key_sha256: &[u8]) -> Result<Option<Node>, Error> {
        let sql = nodes!("WHERE n.enrolled_key_sha256 = $1 ORDER BY n.id DESC LIMIT 1");
        Ok(nodes(self, sql, params![key_sha256])?.pop())
    }

    /// A node that was let in by this.
    ///
    /// # Errors
    /// If the store fails.
    fn node_by_enrolled_with(&mut self, with: &EnrolledWith) -> Result<Option<Node>, Error> {
        let sql = nodes!("WHERE n.enrolled_with = $1 ORDER BY n.id DESC LIMIT 1");
        Ok(nodes(self, sql, params![with.to_string()])?.pop())
    }

    /// Whether a node of this id was removed.
    ///
    /// # Errors
    /// If the store fails.
    fn removed_node_contains(&mut self, id: NodeId) -> Result<bool, Error> {
        Ok(self.row("SELECT 1 FROM removed_nodes WHERE id = $1", params![id], |_| Ok(()))?.is_some())
    }

    /// Ids of the nodes that were removed after this time, and when each was.
    ///
    /// # Errors
    /// If the store fails.
    fn removed_node_since(&mut self, after: UnixMillis) -> Result<Vec<(NodeId, UnixMillis)>, Error> {
        let sql = "SELECT id, removed_at FROM removed_nodes WHERE removed_at > $1 ORDER BY id";
        self.rows(sql, params![after], |row| Ok((row.parsed("removed node id")?, row.millis("removed_at")?)))
    }
}

/// Nodes with their items, and with what rollouts have given to them. Those of all come
/// in one query each.
fn nodes<R: Reader + ?Sized>(tx: &mut R, sql: &str, params: &[Param<'_>]) -> Result<Vec<Node>, Error> {
    const ITEMS: &str = "SELECT node_id, state FROM node_items WHERE node_id >= $1 AND node_id <= $2 \
                         ORDER BY node_id, item";
    const TOUCHES: &str = "SELECT node_id, touch, revision FROM rollout_touches \
                           WHERE node_id >= $1 AND node_id <= $2 ORDER BY node_id, assignment";
    let mut nodes = tx.rows(sql, params, decode)?;
    let (Some(first), Some(last)) = (nodes.first().map(|n| n.id), nodes.last().map(|n| n.id)) else {
        return Ok(nodes);
    };
    give(tx, &mut nodes, ITEMS, params![first, last], item)?;
    give(tx, &mut nodes, TOUCHES, params![first, last], |node, row| {
        let touch: Touch = row.json("touch")?;
        node.touches.push(Touch { revision: row.u64("revision")?, ..touch });
        Ok(())
    })?;
    Ok(nodes)
}

fn item(node: &mut Node, row: &mut Row) -> Result<(), Error> {
    node.items.push(row.json("item state")?);
    Ok(())
}

/// Gives to each node the rows that begin with its id. The nodes and the rows are in the
/// order of ids, so both can be walked once.
fn give<R: Reader + ?Sized>(
    tx: &mut R,
    nodes: &mut [Node],
    sql: &str,
    params: &[Param<'_>],
    mut take: impl FnMut(&mut Node, &mut Row) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut waiting = nodes.iter_mut();
    let mut current = waiting.next();
    tx.query(sql, params, &mut |mut row| {
        let id: NodeId = row.parsed("node id")?;
        while current.as_ref().is_some_and(|node| node.id < id) {
            current = waiting.next();
        }
        match current.as_mut().filter(|node| node.id == id) {
            Some(node) => take(node, &mut row),
            None => Ok(()),
        }
    })
}

fn decode(row: &mut Row) -> Result<Node, Error> {
    Ok(Node {
        id: row.parsed("node id")?,
        display_name: row.text("display_name")?,
        labels: row.json("labels")?,
        facts: row.json::<Facts>("facts")?.into(),
        facts_sha256: row.bytes("facts hash")?.into(),
        liveness: Liveness {
            state: row.word("liveness", parse_state)?,
            since: row.millis("liveness_since")?,
            reason: row.text("liveness_reason")?.into(),
        },
        ledger: ledger(row)?,
        trust_bundle_version: row.u64("trust bundle")?,
        recoveries: row.u32("recoveries")?,
        quarantine: row.opt_json("quarantine")?.map(Box::new),
        kept: row.opt_json("kept")?.map(Box::new),
        accepted: row.opt_json("accepted")?.map(Box::new),
        own_since: row.millis("own_since")?,
        enrolled_key_sha256: Some(Box::new(row.bytes("enrolled key hash")?.into())),
        machine_fingerprint: row.bytes("machine fingerprint")?.into(),
        enrolled_with: row.parsed("what a node enrolled with")?,
        created_at: row.millis("created_at")?,
        selector_revision: row.u64("selector_revision")?,
        revision: row.u64("revision")?,
        certificate: NodeCertificate {
            current: issued(row)?.ok_or_else(|| Error::row("certificate", "none"))?,
            next: issued(row)?.map(Box::new),
        },
        items: Vec::new(),
        touches: Vec::new(),
    })
}

fn ledger(row: &mut Row) -> Result<Option<LedgerMark>, Error> {
    match (row.opt_parsed("ledger id")?, row.opt_u64("ledger seq")?) {
        (Some(id), Some(seq)) => Ok(Some(LedgerMark { id, seq })),
        _ => Ok(None),
    }
}

fn issued(row: &mut Row) -> Result<Option<Issued>, Error> {
    let (serial, generation) = (row.opt_text("serial")?, row.opt_u64("certificate generation")?);
    let (issuer, not_before) = (row.opt_i64("issuer")?, row.opt_millis("not_before")?);
    let (not_after, key) = (row.opt_millis("not_after")?, row.opt_bytes("key hash")?);
    let der = row.opt_bytes("certificate")?;
    let issuer = issuer.map(|n| u32::try_from(n).map_err(|_| Error::row("issuer", n))).transpose()?;
    match (serial, generation, issuer, not_before, not_after, key, der) {
        (
            Some(serial),
            Some(generation),
            Some(issuer),
            Some(not_before),
            Some(not_after),
            Some(key_sha256),
            Some(der),
        ) => {
            let (serial, leaf) = (serial.into(), Some(Box::new(Leaf { key_sha256, der })));
            Ok(Some(Issued { serial, generation, issuer, not_before, not_after, leaf }))
        }
        _ => Ok(None),
    }
}

/// The written form of a state of hearing; the same as on the domain's JSON.
pub(super) const fn state_as_str(state: State) -> &'static str {
    match state {
        State::NeverSeen => "never-seen",
        State::Online => "online",
        State::Late => "late",
        State::Offline => "offline",
        State::Unknown => "unknown",
        State::Expired => "expired",
        State::Quarantined => "quarantined",
    }
}

fn parse_state(text: &str) -> Option<State> {
    const ALL: [State; 7] = [
        State::NeverSeen,
        State::Online,
        State::Late,
        State::Offline,
        State::Unknown,
        State::Expired,
        State::Quarantined,
    ];
    ALL.into_iter().find(|state| state_as_str(*state) == text)
}

impl ReadNodes for ReadTx<'_> {}
impl ReadNodes for WriteTx<'_> {}
