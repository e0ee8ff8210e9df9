//! A node's care for its own identity.

use std::sync::Arc;

use muster_common::{clock::UnixMillis, ids::NodeId, reason::Reason};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, NodeCertificate},
    event::{Happened, Kind},
    lane::Lane,
    node::Node,
};
use muster_store::{ReadNodes as _, WriteNodes as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error, authority::still_issues, nodes::Leaves, speaker::By};
use crate::ca::csr;

/// How often a certificate is made anew because another one came first.
const ATTEMPTS: usize = 3;

/// A certificate for a node.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// Leaf first.
    pub chain_der: Vec<Vec<u8>>,
    /// Of that certificate.
    pub generation: u64,
}

impl App {
    /// The next certificate of a node; the same one again for the same key.
    ///
    /// # Errors
    /// If the request carries no acceptable key, or the node is no more.
    pub async fn renew(
        &self,
        actor: &Actor,
        node: NodeId,
        by: &By,
        csr_der: &[u8],
    ) -> Result<Renewed, Error> {
        self.speaks(node, by)?;
        let refuse = |reason| Error::refused(reason, "the certificate request cannot be taken");
        let key = csr::public_key(csr_der).map_err(refuse)?;
        let stamp: Stamp = actor.stamp("identity.renew", self.clock.now());
        self.certify(node, by, key, stamp, |_| Ok(None)).await
    }

    /// Makes and stores the next certificate of a node, for who speaks for it. The same
    /// one again for the same key. `may` has the last word, in the write, about a new
    /// one; its answer is the new count of recoveries.
    pub(super) async fn certify(
        &self,
        node: NodeId,
        by: &By,
        key: csr::PublicKey,
        stamp: Stamp,
        may: impl Fn(&Node) -> Result<Option<u32>, Error> + Clone + Send + 'static,
    ) -> Result<Renewed, Error> {
        let key = Arc::new(key);
        for _ in 0..ATTEMPTS {
            let held = self.fleet.with(node, |entry| entry.node.certificate.clone());
            let held = held.ok_or_else(gone)?;
            let (active, now) = (self.ca.active(), stamp.at);
            let waiting = held.next.clone().map(|next| *next);
            let offer = match waiting.filter(|next| is_same(next, &key.sha256(), active, now)) {
                Some(next) => next,
                None => {
                    let (app, key, generation) = (self.clone(), Arc::clone(&key), held.newest() + 1);
                    self.workshop.work(move || app.issue(node, &key, generation)).await?
                }
            };
            let (app, by, may) = (self.clone(), by.clone(), may.clone());
            let put = move |tx: &mut WriteTx<'_>| app.put_next(tx, node, &by, &offer, &may);
            if let Some(next) = self.commit_in(Lane::Reports, stamp.clone(), put).await? {
                let chain_der = self.ca.chain_for(next.der(), next.issuer);
                return Ok(Renewed { chain_der, generation: next.generation });
            }
        }
        Err(Error::refused(Reason::Overloaded, "other requests for this node were quicker; try again"))
    }

    /// A host leaves by its own will.
    ///
    /// # Errors
    /// If it is no more.
    pub async fn leave(
        &self,
        actor: &Actor,
        node: NodeId,
        serial: String,
        reason: String,
    ) -> Result<(), Error> {
        // It is for ever: also the process that was kept does it with a certificate of its own.
        let by = By { instance: None, serial };
        self.speaks(node, &by)?;
        let app = self.clone();
        let may = move |tx: &mut WriteTx<'_>, stored: &Node| app.speaks_now(tx, stored, &by);
        self.remove_node_if(actor, node, String::new(), Leaves::Itself(reason), may).await
    }

    /// Stores the next certificate; answers the one that is stored now. `None`: others
    /// have issued one since this one was made.
    fn put_next(
        &self,
        tx: &mut WriteTx<'_>,
        id: NodeId,
        by: &By,
        offer: &Issued,
        may: impl Fn(&Node) -> Result<Option<u32>, Error>,
    ) -> Result<Option<Issued>, Error> {
        let now = self.clock.now();
        let node = tx.node_get(id)?.ok_or_else(gone)?;
        self.speaks_now(tx, &node, by)?;
        let waiting = node.certificate.next.as_deref();
        // Asked again: the reply was lost.
        let key = offer.leaf.as_ref().map_or(&[][..], |leaf| &leaf.key_sha256);
        if let Some(same) = waiting.filter(|next| is_same(next, key, offer.issuer, now)) {
            return Ok(Some(same.clone()));
        }
        let recoveries = may(&node)?;
        let stored = node.certificate.clone();
        if stored.newest() >= offer.generation {
            return Ok(None);
        }
        still_issues(tx, offer.issuer)?;
        // What is in use must not be replaced, also if that is not stored yet: what a
        // session has shown, and what is shown here.
        let in_memory = self.fleet.with(id, |entry| entry.node.certificate.current.serial.clone());
        let in_use =
            waiting.is_some_and(|next| next.serial == *by.serial || Some(&next.serial) == in_memory.as_ref());
        let current = if in_use { stored.promoted().current } else { stored.current };
        tx.node_set_certificate(id, &NodeCertificate { current, next: Some(Box::new(offer.clone())) })?;
        self.tell_bounded(tx, certified(&node, offer, recoveries))?;
        let mut after = json!({ "certificate_serial": offer.serial, "generation": offer.generation });
        if let Some(recoveries) = recoveries {
            tx.node_set_recoveries(id, recoveries)?;
            // The key of a recovery was on the disk of whoever was copied: it renews once more.
            if let Some(mut kept) = node.kept {
                // By a certificate of its own it is the kept one, also after it started anew.
                if let (Some(instance), false) = (by.instance, kept.shares(&by.serial)) {
                    kept.instance = instance;
                }
                kept.serials.push(offer.serial.to_string());
                tx.node_set_kept(id, Some(&kept))?;
            }
            after["recoveries"] = recoveries.into();
        }
        tx.audit(Note { subject: format!("node/{id}"), after: after.to_string(), ..Note::default() })?;
        Ok(Some(offer.clone()))
    }
}

/// `recoveries`: it came by that way.
fn certified(node: &Node, offer: &Issued, recoveries: Option<u32>) -> Happened {
    let name = &node.display_name;
    let (kind, message) = match recoveries {
        Some(_) => (Kind::NodeRecovered, format!("{name} proved with its old key who it is")),
        None => (Kind::NodeCertificateRenewed, format!("{name} renewed its certificate")),
    };
    Happened::new(kind, &message)
        .to(node.id)
        .with("serial", &offer.serial)
        .with("generation", offer.generation)
        .with("not_after", offer.not_after)
}

/// Whether a certificate that waits is what is asked for.
fn is_same(waiting: &Issued, key_sha256: &[u8], issuer: u32, now: UnixMillis) -> bool {
    waiting.is_of_key(key_sha256) && waiting.issuer == issuer && waiting.not_after > now
}

fn gone() -> Error {
    Error::refused(Reason::NodeRemoved, "the node is no more")
}
