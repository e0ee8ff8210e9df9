//! How a node comes back after its certificate has run out, or after its issuer
//! is trusted no more: by proof of the key that it is known by.

use std::{net::IpAddr, time::Duration};

use muster_common::{
    ids::{InstanceId, NodeId},
    reason::Reason,
};
use muster_domain::{
    audit::{Note, Stamp},
    event::{Happened, Kind},
    lane::Lane,
    node::Node,
    sighting::Suspicion,
};
use muster_store::{ReadNodes as _, ReadTx, WriteNodes as _};
use serde_json::json;

use super::{
    Actor, App, Error, events,
    identity::Renewed,
    nodes::node_in,
    speaker::{By, quarantined},
};
use crate::ca::{csr, proof};

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether nodes may recover at all.
    pub enabled: bool,
    /// Longest absence after the certificate's end. `None`: any.
    pub within: Option<Duration>,
    /// How often before a person must say yes.
    pub limit: u32,
}

/// What a host brings.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who it says it is.
    pub node: NodeId,
    /// Ours, of a moment ago.
    pub challenge: Vec<u8>,
    /// With its next key.
    pub csr_der: Vec<u8>,
    /// By its last key.
    pub signature: Vec<u8>,
    /// Claim.
    pub machine_fingerprint: Vec<u8>,
    /// The process, if it said which.
    pub instance: Option<InstanceId>,
    /// From where.
    pub remote: IpAddr,
    /// Of the request.
    pub trace_id: String,
}

/// Who proved to hold a key.
struct Proven {
    node: Node,
    /// Of the certificate with that key.
    serial: String,
}

impl App {
    /// A challenge to be signed by whoever says to be this node.
    ///
    /// # Errors
    /// `RECOVERY_DISABLED`.
    pub fn begin_recovery(&self, node: NodeId) -> Result<Vec<u8>, Error> {
        self.recovery_enabled()?;
        Ok(self.challenges.make(&node.to_string(), self.clock.now()))
    }

    /// A certificate for a node that proves to hold its last key; the same one
    /// again for the same request.
    ///
    /// # Errors
    /// Why not, with a stable reason.
    pub async fn recover(&self, request: Request) -> Result<Renewed, Error> {
        self.recovery_enabled()?;
        self.has_time_for(Lane::Enrollment)?;
        let (id, now) = (request.node, self.clock.now());
        // First what costs nothing: anybody may ask.
        if !self.challenges.check(&request.challenge, &id.to_string(), now) {
            return Err(invalid());
        }
        // Memory keeps no certificates, only what is to be known of them.
        let read = move |tx: &mut ReadTx<'_>| -> Result<Node, Error> {
            match tx.node_get(id)? {
                Some(node) => Ok(node),
                // Nor ids of nodes whose certificates were over long ago.
                None if tx.removed_node_contains(id)? => Err(gone()),
                None => Err(invalid()),
            }
        };
        let stored = self.store.read(read).await?;
        let asked = request.clone();
        let (proven, key) = self.workshop.work(move || proven_with_key(stored, &asked)).await?;
        let by = By { instance: request.instance, serial: proven.serial };
        // First: who was not kept cannot have the node locked up again.
        self.speaks(id, &by)?;
        if is_other_machine(&proven.node, &request.machine_fingerprint) {
            self.suspect(id, Suspicion::OtherMachine, by.serial, request.remote).await?;
            return Err(quarantined());
        }
        let stamp = Stamp {
            actor: format!("node/{id}"),
            action: "identity.recover".to_owned(),
            at: now,
            remote_address: request.remote.to_string(),
            trace_id: request.trace_id,
        };
        let policy = self.fixed.recovery.clone();
        let may = move |stored: &Node| check(stored, &policy, now).map(|()| Some(stored.recoveries + 1));
        let renewed = self.certify(id, &by, key, stamp, may).await?;
        self.metrics.recovered();
        Ok(renewed)
    }

    /// Says yes to as many recoveries as the policy allows.
    ///
    /// # Errors
    /// If there is no such node, or the store fails.
    pub async fn allow_recovery(&self, actor: &Actor, id: NodeId) -> Result<(), Error> {
        let scope = actor.scope.clone();
        self.commit(actor.stamp("nodes.allow-recovery", self.clock.now()), move |tx| {
            let node = node_in(tx, &scope, id)?;
            tx.node_set_recoveries(id, 0)?;
            tx.audit(Note {
                subject: format!("node/{id}"),
                before: json!({ "recoveries": node.recoveries }).to_string(),
                after: json!({ "recoveries": 0 }).to_string(),
                ..Note::default()
            })?;
            let message = format!("{} may recover again", node.display_name);
            events::tell(tx, Happened::new(Kind::AccessAllowed, &message).to(id).for_reason("MayRecover"))
        })
        .await
    }

    fn recovery_enabled(&self) -> Result<(), Error> {
        if self.fixed.recovery.enabled {
            return Ok(());
        }
        Err(Error::refused(Reason::RecoveryDisabled, "recovery is switched off"))
    }
}

fn proven_with_key(stored: Node, request: &Request) -> Result<(Proven, csr::PublicKey), Error> {
    let proven = proven(stored, request)?;
    let key = csr::public_key(&request.csr_der)
        .map_err(|reason| Error::refused(reason, "the certificate request cannot be taken"))?;
    Ok((proven, key))
}

/// The node, if the caller holds one of its keys. Whoever does not learns
/// nothing, not even whether it exists.
fn proven(node: Node, request: &Request) -> Result<Proven, Error> {
    let signed = node
        .certificate
        .both()
        .find(|issued| proof::holds(issued.der(), &request.challenge, &request.csr_der, &request.signature));
    let serial = signed.ok_or_else(invalid)?.serial.clone();
    Ok(Proven { node, serial: serial.to_string() })
}

fn is_other_machine(node: &Node, claim: &[u8]) -> bool {
    !node.machine_fingerprint.is_empty() && !claim.is_empty() && *node.machine_fingerprint != *claim
}

fn check(node: &Node, policy: &Policy, now: muster_common::clock::UnixMillis) -> Result<(), Error> {
    let ended = node.certificate.current.not_after;
    if policy.within.is_some_and(|within| now > ended + within) {
        let text = format!("the certificate ended at {ended}: too long ago; enroll the host again");
        return Err(Error::refused(Reason::RecoveryTooLate, text));
    }
    if node.recoveries >= policy.limit {
        let text = format!("the node recovered {} times; a person must allow more", node.recoveries);
        return Err(Error::refused(Reason::RecoveryLimit, text));
    }
    Ok(())
}

fn invalid() -> Error {
    let text = "the signature is not by the key that the node is known by, or came too late";
    Error::refused(Reason::ProofInvalid, text)
}

fn gone() -> Error {
    Error::refused(Reason::NodeRemoved, "the node is no more")
}
