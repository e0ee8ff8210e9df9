//! How a host becomes a node.

use std::net::IpAddr;

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{JoinRequestId, NodeId},
    reason::Reason,
};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, NodeCertificate},
    facts::Facts,
    join_request::{JoinRequest, State},
    join_token::{self, JoinToken},
    liveness::{self, Liveness},
    node::{Node, is_display_name},
};
use muster_store::{
    ReadJoinRequests, ReadJoinTokens, ReadNodes, WriteJoinRequests as _, WriteJoinTokens as _,
    WriteNodes as _, WriteTx,
};
use serde_json::json;

use super::{App, Error, denials::Refused, join_requests};
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
        self.judge_and_enroll(request).await.inspect_err(|error| match error {
            // A host that waits is no offence, however often it asks; that it came is in the audit.
            Error::Refused { reason: Reason::ApprovalPending, .. } => {}
            Error::Refused { reason, .. } | Error::Invalid { reason, .. } => {
                self.refused_enrollment(*reason, remote, trace_id);
            }
            Error::NotFound { .. } | Error::Store(_) => {}
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
        match self.store.read(move |tx| judge(tx, asked.0, &asked.1, now, remote)).await? {
            Verdict::Known(known) => return Ok(self.grant(&known)),
            Verdict::Asks(token) => return Err(self.ask(token, &request, &key).await?),
            Verdict::Enters(..) => {}
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
                    Verdict::Known(known) => Ok(*known),
                    Verdict::Enters(token, approved) => insert(tx, &token, approved.as_ref(), &node),
                    // It was approved a moment ago; whoever took that back has the last word.
                    Verdict::Asks(token) => Err(refused_token(Reason::StateConflict, &token)),
                }
            })
            .await?;
        muster_common::crash::point("app.enroll.before-answer");
        Ok(self.grant(&enrolled))
    }

    /// Makes the host known that waits, and says so: it is not let in yet.
    async fn ask(&self, token: JoinToken, request: &Request, key: &csr::PublicKey) -> Result<Error, Error> {
        let now = self.clock.now();
        let id = JoinRequestId::generate();
        let wish = if request.display_name.is_empty() { &request.hostname } else { &request.display_name };
        let row = JoinRequest {
            id,
            token: token.id,
            key_sha256: key.sha256(),
            display_name: if is_display_name(wish) { wish.clone() } else { String::new() },
            hostname: request.hostname.chars().take(253).collect(),
            machine_fingerprint: request.machine_fingerprint.iter().copied().take(32).collect(),
            remote_address: request.remote.to_string(),
            created_at: now,
            expires_at: token.expires_at,
            state: State::Pending,
            decided_at: None,
            decided_by: String::new(),
        };
        let stamp = Stamp {
            actor: format!("join-request/{id}"),
            action: "enrollment.ask".to_owned(),
            at: now,
            remote_address: row.remote_address.clone(),
            trace_id: request.trace_id.clone(),
        };
        let bounds = self.fixed.join_requests;
        let known = self.commit(stamp, move |tx| join_requests::ask(tx, &row, bounds)).await?;
        Ok(join_requests::told(&known))
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
            liveness: Liveness {
                state: liveness::State::NeverSeen,
                since: now,
                reason: "Enrolled".to_owned(),
            },
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

/// What becomes of a host with a good token.
enum Verdict {
    /// It is this node; the reply was lost.
    Known(Box<Node>),
    /// It becomes a node; with the request that was approved, if one was needed.
    Enters(JoinToken, Option<JoinRequest>),
    /// A person must say yes first, and does not know of it yet.
    Asks(JoinToken),
}

/// What becomes of a host with this secret and this key.
fn judge<R: ReadJoinTokens + ReadJoinRequests + ReadNodes>(
    tx: &mut R,
    secret_sha256: Sha256,
    key_sha256: &[u8],
    now: UnixMillis,
    remote: IpAddr,
) -> Result<Verdict, Error> {
    let token = tx.join_token_by_secret(secret_sha256.as_bytes())?;
    let token = token.ok_or_else(|| Error::refused(Reason::TokenUnknown, "no such join token"))?;
    if let Some(known) = tx.node_by_enrolled_key(key_sha256)? {
        return again(&token, known).map(|known| Verdict::Known(Box::new(known)));
    }
    let waits = if token.require_approval { tx.join_request_by_key(token.id, key_sha256)? } else { None };
    let approved = waits.as_ref().is_some_and(|request| request.state == State::Approved);
    let judged = if approved { join_token::judge_approved } else { join_token::judge };
    judged(&token, now, remote).map_err(|reason| refused_token(reason, &token))?;
    match waits {
        Some(request) if approved => Ok(Verdict::Enters(token, Some(request))),
        Some(request) => Err(join_requests::told(&request)),
        None if token.require_approval => Ok(Verdict::Asks(token)),
        None => Ok(Verdict::Enters(token, None)),
    }
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

fn insert(
    tx: &mut WriteTx<'_>,
    token: &JoinToken,
    approved: Option<&JoinRequest>,
    node: &Node,
) -> Result<Node, Error> {
    match approved {
        // Its use was counted with the approval.
        Some(request) => tx.join_request_delete(request.id)?,
        None if !tx.join_token_use_once(token.id)? => return Err(refused_token(Reason::TokenUsedUp, token)),
        None => {}
    }
    let node = Node { labels: token.labels.clone(), enrolled_with: token.id, ..node.clone() };
    tx.node_insert(&node)?;
    tx.audit(Note {
        subject: format!("node/{}", node.id),
        after: json!({
            "display_name": node.display_name,
            "labels": node.labels,
            "join_token": token.id,
            "approved_by": approved.map(|request| &request.decided_by),
            "certificate_serial": node.certificate.current.serial,
        })
        .to_string(),
        ..Note::default()
    })?;
    Ok(node)
}
