//! A node's care for its own identity.

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, NodeCertificate},
};
use muster_store::{ReadNodes as _, WriteNodes as _};
use serde_json::json;

use super::{Actor, App, Error};
use crate::ca::csr;

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
    pub async fn renew(&self, actor: &Actor, node: NodeId, csr_der: &[u8]) -> Result<Renewed, Error> {
        let refuse = |reason| Error::refused(reason, "the certificate request cannot be taken");
        let key = csr::public_key(csr_der).map_err(refuse)?;
        let held = self.fleet.with(node, |entry| entry.node.certificate.clone());
        let held = held.ok_or_else(|| Error::refused(Reason::NodeRemoved, "the node is no more"))?;
        let active = self.ca.active();
        let waiting = held.next.filter(|next| next.key_sha256 == key.sha256() && next.issuer == active);
        let next = match waiting {
            Some(next) => next,
            None => self.issue(node, &key, held.current.generation + 1)?,
        };
        let row = next.clone();
        let stamp: Stamp = actor.stamp("identity.renew", self.clock.now());
        self.commit(stamp, move |tx| {
            let stored = tx
                .node_get(node)?
                .ok_or_else(|| Error::refused(Reason::NodeRemoved, "the node is no more"))?;
            tx.node_set_certificate(node, &with_next(stored.certificate, &row))?;
            tx.audit(Note {
                subject: format!("node/{node}"),
                after: json!({ "certificate_serial": row.serial, "generation": row.generation }).to_string(),
                ..Note::default()
            })?;
            Ok(())
        })
        .await?;
        self.fleet.with(node, |mut entry| {
            entry.node.certificate = with_next(entry.node.certificate.clone(), &next);
        });
        Ok(Renewed { chain_der: self.ca.chain_for(&next.der, next.issuer), generation: next.generation })
    }

    /// A host leaves by its own will.
    ///
    /// # Errors
    /// If it is no more.
    pub async fn leave(&self, actor: &Actor, node: NodeId, reason: String) -> Result<(), Error> {
        self.remove_node(actor, node, String::new(), format!("the host left: {reason}")).await
    }
}

fn with_next(certificate: NodeCertificate, next: &Issued) -> NodeCertificate {
    if certificate.current.serial == next.serial {
        return certificate;
    }
    NodeCertificate { next: Some(next.clone()), ..certificate }
}
