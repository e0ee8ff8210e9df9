//! Writing nodes, part by part.

use muster_common::{clock::UnixMillis, generation::Generation, ids::NodeId};
use muster_domain::{
    certificate::{Issued, NodeCertificate},
    facts::Facts,
    item::{ItemName, ItemState},
    labels::Labels,
    liveness::Liveness,
    node::{LedgerMark, Node},
    sighting::{Kept, Quarantine},
};

use super::read::{ReadNodes, state_as_str};
use crate::{
    changes::ChangeKind,
    engine::{json, params},
    error::Error,
    tx::{WriteTx, Writer},
};

/// Writes nodes. The parts of a node that is not there (any more) are not
/// written, and the answer says so.
pub trait WriteNodes: ReadNodes + Writer {
    /// Adds a node. Both its revisions become that of this write.
    ///
    /// # Errors
    /// If its id is there already, or the store fails.
    fn node_insert(&mut self, node: &Node) -> Result<(), Error> {
        const NODE: &str = "INSERT INTO nodes (id, display_name, labels, enrolled_key_sha256, machine_fingerprint, \
                            enrolled_with, created_at, selector_revision, revision) \
                            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
        const STATUS: &str = "INSERT INTO node_status (node_id, liveness, liveness_since, liveness_reason, \
                              ledger_id, ledger_seq) VALUES ($1, $2, $3, $4, $5, $6)";
        const FACTS: &str = "INSERT INTO node_facts (node_id, facts, facts_sha256) VALUES ($1, $2, $3)";
        self.needs_audit("a node");
        self.changed(ChangeKind::Node, node.id.to_string());
        let revision = self.own_revision();
        let row = params![
            node.id,
            &node.display_name,
            json(&node.labels),
            node.enrolled_key(),
            &*node.machine_fingerprint,
            node.enrolled_with.to_string(),
            node.created_at,
            revision,
        ];
        self.execute(NODE, row)?;
        let (state, ledger) = (&node.liveness, node.ledger);
        let row = params![
            node.id,
            state_as_str(state.state),
            state.since,
            &*state.reason,
            ledger.map(|ledger| ledger.id),
            ledger.map(|ledger| ledger.seq),
        ];
        self.put(STATUS, row)?;
        self.put(FACTS, params![node.id, json(&node.facts.all()), &*node.facts_sha256])?;
        put_certificates(self, node.id, &node.certificate)?;
        put_items(self, node.id, &node.items)
    }

    /// What an operator edits. The node's revision becomes that of this write; so does that
    /// of what selectors see, if they see something else.
    ///
    /// # Errors
    /// If the store fails.
    fn node_edit(&mut self, id: NodeId, display_name: &str, labels: &Labels) -> Result<bool, Error> {
        const SQL: &str = "UPDATE nodes SET display_name = $1, \
                           selector_revision = CASE WHEN labels = $2 THEN selector_revision ELSE $3 END, \
                           labels = $2, revision = $3 WHERE id = $4";
        let revision = self.own_revision();
        let found = self.execute(SQL, params![display_name, json(labels), revision, id])? > 0;
        if found {
            self.needs_audit("a node");
            self.changed(ChangeKind::Node, id.to_string());
        }
        Ok(found)
    }

    /// What the host says of itself, and the hash of it as the host encoded it.
    /// `selectable_changed`: selectors may see the node differently now.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_facts(
        &mut self,
        id: NodeId,
        facts: &Facts,
        sha256: &[u8],
        selectable_changed: bool,
    ) -> Result<bool, Error> {
        let sql = "UPDATE node_facts SET facts = $1, facts_sha256 = $2 WHERE node_id = $3";
        let found = self.execute(sql, params![json(facts), sha256, id])? > 0;
        if found {
            self.changed(ChangeKind::NodeReport, id.to_string());
        }
        if found && selectable_changed {
            let revision = self.own_revision();
            let sql = "UPDATE nodes SET selector_revision = $1 WHERE id = $2";
            self.execute(sql, params![revision, id])?;
        }
        Ok(found)
    }

    /// A change of its visible state.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_liveness(&mut self, id: NodeId, liveness: &Liveness) -> Result<bool, Error> {
        let sql = "UPDATE node_status SET liveness = $1, liveness_since = $2, liveness_reason = $3 WHERE node_id = $4";
        let row = params![state_as_str(liveness.state), liveness.since, &*liveness.reason, id];
        let found = self.execute(sql, row)? > 0;
        if found {
            self.changed(ChangeKind::NodeReport, id.to_string());
        }
        Ok(found)
    }

    /// How far its ledger is. Nobody but the session asks for it: not on the feed.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_ledger(&mut self, id: NodeId, ledger: LedgerMark) -> Result<bool, Error> {
        let sql = "UPDATE node_status SET ledger_id = $1, ledger_seq = $2 WHERE node_id = $3";
        Ok(self.execute(sql, params![ledger.id, ledger.seq, id])? > 0)
    }

    /// The newest trust bundle that it acknowledged. Only progress is asked of it: not on the feed.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_trust_bundle(&mut self, id: NodeId, version: u64) -> Result<bool, Error> {
        let sql = "UPDATE node_status SET trust_bundle = $1 WHERE node_id = $2";
        Ok(self.execute(sql, params![version, id])? > 0)
    }

    /// How often it recovered since a person last said yes.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_recoveries(&mut self, id: NodeId, count: u32) -> Result<bool, Error> {
        let found = self
            .execute("UPDATE node_status SET recoveries = $1 WHERE node_id = $2", params![count, id])?
            > 0;
        if found {
            self.needs_audit("a node's recoveries");
            self.changed(ChangeKind::Node, id.to_string());
        }
        Ok(found)
    }

    /// Puts it in quarantine, or lets it out. `machine`: the fingerprint it is
    /// known by from now on.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_quarantine(
        &mut self,
        id: NodeId,
        quarantine: Option<&Quarantine>,
        machine: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let sql = "UPDATE node_status SET quarantine = $1 WHERE node_id = $2";
        let found = self.execute(sql, params![quarantine.map(json), id])? > 0;
        if let (true, Some(machine)) = (found, machine) {
            let sql = "UPDATE nodes SET machine_fingerprint = $1 WHERE id = $2";
            self.execute(sql, params![machine, id])?;
        }
        if found {
            self.needs_audit("a node's quarantine");
            self.changed(ChangeKind::Node, id.to_string());
        }
        Ok(found)
    }

    /// As which process alone it was let out of quarantine; `None`: as any.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_kept(&mut self, id: NodeId, kept: Option<&Kept>) -> Result<bool, Error> {
        let sql = "UPDATE node_status SET kept = $1 WHERE node_id = $2";
        let found = self.execute(sql, params![kept.map(json), id])? > 0;
        if found {
            self.needs_audit("who a node is after its quarantine");
            self.changed(ChangeKind::Node, id.to_string());
        }
        Ok(found)
    }

    /// What of a history that is not known here may be overwritten on it.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_accepted(&mut self, id: NodeId, accepted: Generation) -> Result<bool, Error> {
        let sql = "UPDATE node_status SET accepted = $1 WHERE node_id = $2";
        let found = self.execute(sql, params![json(&accepted), id])? > 0;
        if found {
            self.needs_audit("what may be overwritten on a node");
            self.changed(ChangeKind::Node, id.to_string());
        }
        Ok(found)
    }

    /// Since when its certificates are its own alone.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_own_since(&mut self, id: NodeId, since: UnixMillis) -> Result<bool, Error> {
        let sql = "UPDATE node_status SET own_since = $1 WHERE node_id = $2";
        let found = self.execute(sql, params![since, id])? > 0;
        if found {
            self.needs_audit("since when a node's certificates are its own");
            self.changed(ChangeKind::Node, id.to_string());
        }
        Ok(found)
    }

    /// What it reports of its items: new states, and items of which nothing is left.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_items(
        &mut self,
        id: NodeId,
        upserts: &[ItemState],
        removed: &[ItemName],
    ) -> Result<bool, Error> {
        let known = self.row("SELECT 1 FROM nodes WHERE id = $1", params![id], |_| Ok(()))?.is_some();
        if !known || (upserts.is_empty() && removed.is_empty()) {
            return Ok(known);
        }
        put_items(self, id, upserts)?;
        for item in removed {
            let sql = "DELETE FROM node_items WHERE node_id = $1 AND item = $2";
            self.put(sql, params![id, item.to_string()])?;
        }
        self.changed(ChangeKind::NodeReport, id.to_string());
        Ok(true)
    }

    /// Its certificates. One that was not known before was issued, and needs an
    /// audit entry; that the next becomes current is what the node reports by
    /// using it.
    ///
    /// # Errors
    /// If the store fails.
    fn node_set_certificate(&mut self, id: NodeId, certificate: &NodeCertificate) -> Result<bool, Error> {
        let sql = "SELECT serial FROM node_certificates WHERE node_id = $1";
        let known = self.rows(sql, params![id], |row| Ok(row.text("serial")?.into()))?;
        if known.is_empty() {
            return Ok(false); // a node has one from its first row to its last
        }
        if certificate.both().all(|issued| known.contains(&issued.serial)) {
            self.changed(ChangeKind::NodeReport, id.to_string());
        } else {
            self.needs_audit("a node's certificate");
            self.changed(ChangeKind::Node, id.to_string());
        }
        put_certificates(self, id, certificate)?;
        Ok(true)
    }

    /// Removes a node. Its id stays known as removed. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn node_delete(&mut self, id: NodeId) -> Result<bool, Error> {
        const TOMBSTONE: &str = "INSERT INTO removed_nodes (id, removed_at, removed_by) VALUES ($1, $2, $3)";
        if self.execute("DELETE FROM nodes WHERE id = $1", params![id])? == 0 {
            return Ok(false);
        }
        self.needs_audit("a node");
        self.changed(ChangeKind::Node, id.to_string());
        let (at, actor) = (self.who().at, self.who().actor.clone());
        self.execute(TOMBSTONE, params![id, at, actor])?;
        Ok(true)
    }
}

fn put_items<W: Writer + ?Sized>(tx: &mut W, id: NodeId, items: &[ItemState]) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO node_items (node_id, item, state) VALUES ($1, $2, $3) \
                       ON CONFLICT (node_id, item) DO UPDATE SET state = excluded.state";
    for state in items {
        tx.put(SQL, params![id, state.item.to_string(), json(state)])?;
    }
    Ok(())
}

fn put_certificates<W: Writer + ?Sized>(tx: &mut W, id: NodeId, pair: &NodeCertificate) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO node_certificates (node_id, is_next, serial, generation, issuer, not_before, \
                       not_after, key_sha256, der) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    tx.put("DELETE FROM node_certificates WHERE node_id = $1", params![id])?;
    let both: [(bool, Option<&Issued>); 2] = [(false, Some(&pair.current)), (true, pair.next.as_deref())];
    for (is_next, issued) in both.into_iter().filter_map(|(is_next, issued)| Some((is_next, issued?))) {
        let Some(leaf) = issued.leaf.as_ref().filter(|leaf| !leaf.der.is_empty()) else {
            return Err(Error::row("certificate", "it came from memory, which keeps no leaves"));
        };
        let serial = issued.serial.to_string();
        let row = params![
            id,
            is_next,
            &serial,
            issued.generation,
            issued.issuer,
            issued.not_before,
            issued.not_after,
            &leaf.key_sha256,
            &leaf.der,
        ];
        tx.put(SQL, row)?;
    }
    Ok(())
}

impl WriteNodes for WriteTx<'_> {}
