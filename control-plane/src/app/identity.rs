//! A node's care for its own identity.

use muster_common::{
    ids::{InstanceId, NodeId},
    reason::Reason,
};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, NodeCertificate},
};
use muster_store::{ReadNodes as _, WriteNodes as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error};
use crate::ca::csr;

/// How often a certificate is made anew because another one came first.
const ATTEMPTS: usize = 3;

/// Who asks for a renewal.
#[derive(Debug, Clone)]
pub struct By {
    /// The process, if it said which.
    pub instance: Option<InstanceId>,
    /// The certificate it shows.
    pub serial: String,
}

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
        let locked = self.fleet.with(node, |entry| entry.node.quarantine.is_some() || entry.locking);
        if locked == Some(true) {
            // Whichever of the two it is: a new certificate would outlive what is decided.
            let message = "the node is in quarantine; a person must release it";
            return Err(Error::refused(Reason::Quarantined, message));
        }
        let kept = self.fleet.with(node, |entry| entry.kept.as_ref().map(|kept| kept.instance)).flatten();
        if kept.is_some() && kept != by.instance {
            let (reason, message) = super::quarantine::not_kept();
            return Err(Error::refused(reason, message));
        }
        let refuse = |reason| Error::refused(reason, "the certificate request cannot be taken");
        let key = csr::public_key(csr_der).map_err(refuse)?;
        for _ in 0..ATTEMPTS {
            let held = self.fleet.with(node, |entry| entry.node.certificate.clone());
            let held = held.ok_or_else(gone)?;
            let active = self.ca.active();
            let waiting =
                held.next.clone().filter(|next| next.key_sha256 == key.sha256() && next.issuer == active);
            let offer = match waiting {
                Some(next) => next,
                None => self.issue(node, &key, held.newest() + 1)?,
            };
            let stamp: Stamp = actor.stamp("identity.renew", self.clock.now());
            // Both are in use: what a session has shown, and what is shown here.
            let shown = [held.current.serial, by.serial.clone()];
            let stored = self.commit(stamp, move |tx| put_next(tx, node, &shown, &offer)).await?;
            if let Some(next) = stored {
                let chain_der = self.ca.chain_for(&next.der, next.issuer);
                return Ok(Renewed { chain_der, generation: next.generation });
            }
        }
        Err(Error::refused(Reason::Overloaded, "other requests for this node were quicker; try again"))
    }

    /// A host leaves by its own will.
    ///
    /// # Errors
    /// If it is no more.
    pub async fn leave(&self, actor: &Actor, node: NodeId, reason: String) -> Result<(), Error> {
        self.remove_node(actor, node, String::new(), format!("the host left: {reason}")).await
    }
}

/// Stores the next certificate; answers the one that is stored now. `None`:
/// others have issued one since this one was made.
fn put_next(
    tx: &mut WriteTx<'_>,
    node: NodeId,
    shown: &[String],
    offer: &Issued,
) -> Result<Option<Issued>, Error> {
    let stored = tx.node_get(node)?.ok_or_else(gone)?.certificate;
    let waiting = stored.next.as_ref();
    if let Some(same) =
        waiting.filter(|next| next.key_sha256 == offer.key_sha256 && next.issuer == offer.issuer)
    {
        return Ok(Some(same.clone()));
    }
    if stored.newest() >= offer.generation {
        return Ok(None);
    }
    // It was shown, and that is not stored yet: what is in use must not be replaced.
    let in_use = waiting.is_some_and(|next| shown.contains(&next.serial));
    let current = if in_use { stored.promoted().current } else { stored.current };
    tx.node_set_certificate(node, &NodeCertificate { current, next: Some(offer.clone()) })?;
    tx.audit(Note {
        subject: format!("node/{node}"),
        after: json!({ "certificate_serial": offer.serial, "generation": offer.generation }).to_string(),
        ..Note::default()
    })?;
    Ok(Some(offer.clone()))
}

fn gone() -> Error {
    Error::refused(Reason::NodeRemoved, "the node is no more")
}
