//! How a host becomes a node.

use std::net::IpAddr;

use muster_common::{clock::UnixMillis, digest::Sha256, ids::NodeId, reason::Reason};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, NodeCertificate},
    facts::Facts,
    join_token::{self, JoinToken},
    liveness::{Liveness, State},
    node::{Node, is_display_name},
};
use muster_store::{ReadJoinTokens, ReadNodes, WriteJoinTokens as _, WriteNodes as _, WriteTx};
use serde_json::json;

use super::{App, Error, denials::Refused};
use crate::ca::{self, csr};

/// What refusals name in the audit.
const METHOD: &str = "/muster.agent.v1.EnrollmentService/Enroll";

/// What a host brings.
#[derive(Debug, Clone)]
pub struct Request {
    /// Secret of a join token.
    pub secret: String,
    /// Its certificate request.
    pub csr_der: Vec<u8>,
    /// A wish; empty: the host name.
    pub display_name: String,
    /// Claim.
    pub hostname: String,
    /// Claim.
    pub machine_fingerprint: Vec<u8>,
    /// From where.
    pub remote: IpAddr,
    /// Of the request.
    pub trace_id: String,
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct Grant {
    /// For ever.
    pub node: NodeId,
    /// Leaf first.
    pub chain_der: Vec<Vec<u8>>,
    /// Of that certificate.
    pub generation: u64,
}

impl App {
    /// Makes a node of a host with a good token; the same node again for the same key and token.
    ///
    /// # Errors
    /// Why not, with a stable reason.
    pub async fn enroll(&self, request: Request) -> Result<Grant, Error> {
        let (remote, trace_id) = (request.remote, request.trace_id.clone());
        self.judge_and_enroll(request).await.inspect_err(|error| {
            if let Error::Refused { reason, .. } | Error::Invalid { reason, .. } = error {
                self.refused_enrollment(*reason, remote, trace_id);
            }
        })
    }

    /// Whoever tries secrets, or uses one that is spent, is seen.
    fn refused_enrollment(&self, reason: Reason, remote: IpAddr, trace_id: String) {
        self.metrics.enrollment_refused(reason.as_str());
        self.denied(Refused {
            principal: String::new(),
            remote_address: remote.to_string(),
            subject: METHOD.to_owned(),
            trace_id,
            reason,
        });
    }

    async fn judge_and_enroll(&self, request: Request) -> Result<Grant, Error> {
        if !self.fixed.enrollment_enabled {
            return Err(Error::refused(Reason::EnrollmentDisabled, "enrollment is switched off"));
        }
        let refuse = |reason| Error::refused(reason, "the certificate request cannot be taken");
        let key = csr::public_key(&request.csr_der).map_err(refuse)?;
        let secret_sha256 = Sha256::of(request.secret.as_bytes());
        let (now, remote) = (self.clock.now(), request.remote);
        // A look before anything is signed: a stranger costs a read, and no work of the CA.
        let asked = (secret_sha256, key.sha256());
        if let Some(known) = self.store.read(move |tx| judge(tx, asked.0, &asked.1, now, remote)).await?.1 {
            return Ok(self.grant(&known));
        }
        let id = NodeId::generate();
        let node = self.candidate(id, &request, &key)?;
        let stamp = Stamp {
            actor: format!("node/{id}"),
            action: "enrollment.enroll".to_owned(),
            at: now,
            remote_address: remote.to_string(),
            trace_id: request.trace_id,
        };
        let enrolled = self
            .commit(stamp, move |tx| {
                match judge(tx, secret_sha256, &node.enrolled_key_sha256, now, remote)? {
                    (_, Some(known)) => Ok(known),
                    (token, None) => insert(tx, &token, &node),
                }
            })
            .await?;
        muster_common::crash::point("app.enroll.before-answer");
        Ok(self.grant(&enrolled))
    }

    fn grant(&self, enrolled: &Node) -> Grant {
        let current = &enrolled.certificate.current;
        Grant {
            node: enrolled.id,
            chain_der: self.ca.chain_for(&current.der, current.issuer),
            generation: current.generation,
        }
    }

    fn candidate(&self, id: NodeId, request: &Request, key: &csr::PublicKey) -> Result<Node, Error> {
        let now = self.clock.now();
        let wish = if request.display_name.is_empty() { &request.hostname } else { &request.display_name };
        let display_name = if is_display_name(wish) { wish.clone() } else { id.to_string() };
        let certificate = self.issue(id, key, 1)?;
        Ok(Node {
            id,
            display_name,
            labels: muster_domain::labels::Labels::new(),
            facts: Facts { hostname: request.hostname.chars().take(253).collect(), ..Facts::default() },
            facts_sha256: Vec::new(),
            liveness: Liveness { state: State::NeverSeen, since: now, reason: "Enrolled".to_owned() },
            items: Vec::new(),
            enrolled_key_sha256: certificate.key_sha256.clone(),
            certificate: NodeCertificate { current: certificate, next: None },
            machine_fingerprint: request.machine_fingerprint.iter().copied().take(32).collect(),
            enrolled_with: muster_common::ids::JoinTokenId::from_u128(0),
            created_at: now,
            ledger: None,
            trust_bundle_version: 0,
            recoveries: 0,
            quarantine: None,
            selector_revision: 0,
            revision: 0,
        })
    }

    /// Issues a certificate; what is kept of it.
    pub(crate) fn issue(&self, id: NodeId, key: &csr::PublicKey, generation: u64) -> Result<Issued, Error> {
        let ttl = self.fixed.node_certificate_ttl;
        let issued: ca::Certificate = self.ca.issue_node(id, key, ttl, self.clock.now()).map_err(|error| {
            tracing::error!(error = %muster_common::error_chain::Chain(&error), "a certificate could not be issued");
            Error::refused(Reason::Internal, "a certificate could not be issued")
        })?;
        Ok(Issued {
            serial: issued.serial,
            generation,
            issuer: issued.issuer,
            not_before: issued.not_before,
            not_after: issued.not_after,
            key_sha256: issued.key_sha256,
            der: issued.leaf_der,
        })
    }
}

/// The token of a secret, if it can be used; or the node that it made of this key before.
fn judge<R: ReadJoinTokens + ReadNodes>(
    tx: &mut R,
    secret_sha256: Sha256,
    key_sha256: &[u8],
    now: UnixMillis,
    remote: IpAddr,
) -> Result<(JoinToken, Option<Node>), Error> {
    let token = tx.join_token_by_secret(secret_sha256.as_bytes())?;
    let token = token.ok_or_else(|| Error::refused(Reason::TokenUnknown, "no such join token"))?;
    if let Some(known) = tx.node_by_enrolled_key(key_sha256)? {
        return again(&token, known).map(|known| (token, Some(known)));
    }
    join_token::judge(&token, now, remote).map_err(|reason| refused_token(reason, &token))?;
    Ok((token, None))
}

/// The reply was lost: the same key with the same token is the same node.
fn again(token: &JoinToken, known: Node) -> Result<Node, Error> {
    if known.enrolled_with == token.id {
        return Ok(known);
    }
    Err(Error::refused(Reason::AlreadyExists, "this key is enrolled with another token"))
}

fn refused_token(reason: Reason, token: &JoinToken) -> Error {
    Error::refused(reason, format!("join token {} cannot be used: {reason}", token.id))
}

fn insert(tx: &mut WriteTx<'_>, token: &JoinToken, node: &Node) -> Result<Node, Error> {
    if !tx.join_token_use_once(token.id)? {
        return Err(refused_token(Reason::TokenUsedUp, token));
    }
    let node = Node { labels: token.labels.clone(), enrolled_with: token.id, ..node.clone() };
    tx.node_insert(&node)?;
    tx.audit(Note {
        subject: format!("node/{}", node.id),
        after: json!({
            "display_name": node.display_name,
            "labels": node.labels,
            "join_token": token.id,
            "certificate_serial": node.certificate.current.serial,
        })
        .to_string(),
        ..Note::default()
    })?;
    Ok(node)
}
