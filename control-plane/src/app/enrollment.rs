//! How a host becomes a node.

mod entry;

use std::net::IpAddr;

use muster_common::{
    digest::{Claimed, Sha256},
    ids::{JoinRequestId, JoinTokenId, NodeId},
    reason::Reason,
};
use muster_domain::{
    audit::Stamp,
    certificate::{Issued, Leaf, NodeCertificate},
    facts::Facts,
    join_request::{JoinRequest, State},
    join_token::JoinToken,
    labels::Labels,
    lane::Lane,
    liveness::{self, Liveness},
    node::{Node, is_display_name},
};

use super::{App, Error, authority::still_issues, denials::Refused, join_requests};
use crate::{
    ca::{self, csr},
    host_ca, oidc,
};
use entry::{Entry, Verdict};

/// What refusals name in the audit.
const METHOD: &str = "/muster.agent.v1.EnrollmentService/Enroll";

/// For whom challenges are made that hosts without an identity sign.
const CHALLENGED: &str = "enrollment";

/// What a host brings.
#[derive(Debug, Clone)]
pub struct Request {
    /// By what it wants in.
    pub proof: Proof,
    /// Its certificate request.
    pub csr_der: Vec<u8>,
    /// A wish; empty: the host name.
    pub display_name: String,
    /// Claim.
    pub hostname: String,
    /// Claim.
    pub machine_fingerprint: Vec<u8>,
    /// A wish, beside the labels of what it comes with.
    pub requested_labels: Labels,
    /// From where.
    pub remote: IpAddr,
    /// Of the request.
    pub trace_id: String,
}

/// By what a host wants in.
#[derive(Clone)]
pub enum Proof {
    /// Secret of a join token.
    Secret(String),
    /// Token of an issuer.
    Oidc(String),
    /// Certificate of another authority.
    HostCertificate(host_ca::Shown),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Oidc(_) => "Oidc",
            Self::HostCertificate(_) => "HostCertificate",
        })
    }
}

impl Proof {
    /// The one that is there.
    ///
    /// # Errors
    /// If there are several.
    pub fn of(secret: String, oidc_token: String, shown: Option<host_ca::Shown>) -> Result<Self, Error> {
        let one_way = "a host comes by one way: leave the others empty";
        match (secret.is_empty(), oidc_token.is_empty(), shown) {
            (_, true, None) => Ok(Self::Secret(secret)),
            (true, false, None) => Ok(Self::Oidc(oidc_token)),
            (true, true, Some(shown)) => Ok(Self::HostCertificate(shown)),
            (false, _, _) => Err(Error::invalid("token", one_way)),
            (true, false, Some(_)) => Err(Error::invalid("oidc_token", one_way)),
        }
    }
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
    /// A challenge for a host that comes with a certificate of another authority.
    ///
    /// # Errors
    /// `ENROLLMENT_DISABLED`.
    pub fn begin_enrollment(&self) -> Result<Vec<u8>, Error> {
        self.enrollment_enabled()?;
        Ok(self.challenges.make(CHALLENGED, self.clock.now()))
    }

    fn enrollment_enabled(&self) -> Result<(), Error> {
        if self.fixed.enrollment_enabled {
            return Ok(());
        }
        Err(Error::refused(Reason::EnrollmentDisabled, "enrollment is switched off"))
    }

    /// Makes a node of a host with a good proof; the same node again for the same key and token.
    ///
    /// # Errors
    /// Why not, with a stable reason.
    pub async fn enroll(&self, request: Request) -> Result<Grant, Error> {
        self.has_time_for(Lane::Enrollment)?;
        let (remote, trace_id) = (request.remote, request.trace_id.clone());
        self.judge_and_enroll(request).await.inspect_err(|error| match error {
            // A host that waits is no offence, however often it asks; that it came is in the audit.
            Error::Refused { reason: Reason::ApprovalPending, .. } => {}
            Error::Refused { reason, .. } | Error::Invalid { reason, .. } => {
                self.refused_enrollment(*reason, remote, trace_id);
            }
            Error::Faults(faults) => faults
                .iter()
                .take(1)
                .for_each(|fault| self.refused_enrollment(fault.reason, remote, trace_id.clone())),
            Error::NotFound { .. } | Error::Later { .. } | Error::Store(_) | Error::Blobs(_) => {}
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
        self.enrollment_enabled()?;
        let refuse = |reason| Error::refused(reason, "the certificate request cannot be taken");
        let csr_der = request.csr_der.clone();
        let key = self.workshop.work(move || csr::public_key(&csr_der)).await.map_err(refuse)?;
        let entry = self.entry(request.proof.clone(), Sha256::of(&request.csr_der)).await?;
        let (now, remote) = (self.clock.now(), request.remote);
        // A look before anything is signed: a stranger costs a read, and no work of the CA.
        let asked = (entry.clone(), key.sha256());
        match self.store.read(move |tx| asked.0.judge(tx, &asked.1, now, remote)).await? {
            Verdict::Known(known) => return Ok(self.grant(&known)),
            Verdict::Asks(token) => {
                token.requestable.grant(&token.labels, &request.requested_labels)?;
                return Err(self.ask(&token, entry, &request, &key).await?);
            }
            Verdict::Enters(ticket) => drop(ticket.labels(&request.requested_labels)?),
        }
        let id = NodeId::generate();
        let (app, asked) = (self.clone(), request.clone());
        let node = self.workshop.work(move || app.candidate(id, &asked, &key)).await?;
        let stamp = Stamp {
            actor: format!("node/{id}"),
            action: "enrollment.enroll".to_owned(),
            at: now,
            remote_address: remote.to_string(),
            trace_id: request.trace_id,
        };
        let (clock, wish) = (self.clock.clone(), request.requested_labels);
        let enrolled = self
            .commit_in(Lane::Enrollment, stamp, move |tx| {
                // What may have run out while it waited is looked at again.
                match entry.judge(tx, node.enrolled_key(), clock.now(), remote)? {
                    Verdict::Known(known) => Ok(*known),
                    Verdict::Enters(ticket) => {
                        still_issues(tx, node.certificate.current.issuer)?;
                        ticket.insert(tx, &node, &wish)
                    }
                    // It was approved a moment ago; whoever took that back has the last word.
                    Verdict::Asks(token) => Err(entry::refused_token(Reason::StateConflict, &token)),
                }
            })
            .await?;
        muster_common::crash::point("app.enroll.before-answer");
        Ok(self.grant(&enrolled))
    }

    /// What a proof is worth, as far as that can be known without the store.
    async fn entry(&self, proof: Proof, csr: Sha256) -> Result<Entry, Error> {
        let (app, now) = (self.clone(), self.clock.now());
        match proof {
            Proof::Secret(secret) => Ok(Entry::Token(Sha256::of(secret.as_bytes()))),
            Proof::Oidc(token) => {
                let keys = self
                    .oidc
                    .keys(&token, &self.clock, &self.tasks)
                    .await
                    .map_err(|error| refused_oidc(&error))?;
                let judged = self.workshop.work(move || app.oidc.judge(&token, &keys, now)).await;
                judged.map(Entry::Oidc).map_err(|error| refused_oidc(&error))
            }
            Proof::HostCertificate(shown) => {
                if !self.challenges.check(&shown.challenge, CHALLENGED, now) {
                    return Err(refused_host(&host_ca::Error::Proof));
                }
                let judged = self.workshop.work(move || app.host_cas.judge(&shown, csr, now)).await;
                judged.map(Entry::HostCertificate).map_err(|error| refused_host(&error))
            }
        }
    }

    /// Makes the host known that waits, and says so: it is not let in yet.
    async fn ask(
        &self,
        token: &JoinToken,
        entry: Entry,
        request: &Request,
        key: &csr::PublicKey,
    ) -> Result<Error, Error> {
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
            requested_labels: request.requested_labels.clone(),
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
        let (bounds, clock, remote) = (self.fixed.join_requests, self.clock.clone(), request.remote);
        let known = self
            .commit_in(Lane::Enrollment, stamp, move |tx| {
                match entry.judge(tx, &row.key_sha256, clock.now(), remote)? {
                    Verdict::Asks(_) => join_requests::ask(tx, &row, bounds),
                    // Somebody decided meanwhile.
                    Verdict::Enters(_) | Verdict::Known(_) => {
                        Err(Error::refused(Reason::ApprovalPending, "ask again"))
                    }
                }
            })
            .await?;
        Ok(join_requests::told(&known))
    }

    fn grant(&self, enrolled: &Node) -> Grant {
        let current = &enrolled.certificate.current;
        Grant {
            node: enrolled.id,
            chain_der: self.ca.chain_for(current.der(), current.issuer),
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
            labels: Labels::new(),
            facts: Facts { hostname: request.hostname.chars().take(253).collect(), ..Facts::default() }
                .into(),
            facts_sha256: Claimed::default(),
            liveness: Liveness {
                state: liveness::State::NeverSeen,
                since: now,
                reason: liveness::ENROLLED.into(),
            },
            items: Vec::new(),
            enrolled_key_sha256: Some(Box::new(key.sha256().into())),
            certificate: NodeCertificate { current: certificate, next: None },
            machine_fingerprint: request.machine_fingerprint.as_slice().into(),
            enrolled_with: JoinTokenId::from_u128(0).into(), // the ticket says by what
            created_at: now,
            ledger: None,
            trust_bundle_version: 0,
            recoveries: 0,
            touches: Vec::new(),
            accepted: None,
            own_since: muster_common::clock::UnixMillis(0),
            quarantine: None,
            kept: None,
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
            serial: issued.serial.into(),
            generation,
            issuer: issued.issuer,
            not_before: issued.not_before,
            not_after: issued.not_after,
            leaf: Some(Box::new(Leaf { key_sha256: issued.key_sha256, der: issued.leaf_der })),
        })
    }
}

fn refused_host(error: &host_ca::Error) -> Error {
    let reason = match error {
        host_ca::Error::Certificate { .. } => Reason::HostCertificateInvalid,
        host_ca::Error::Proof => Reason::ProofInvalid,
        host_ca::Error::Unavailable { .. } => Reason::HostCaUnavailable,
    };
    Error::refused(reason, error.to_string())
}

fn refused_oidc(error: &oidc::Error) -> Error {
    let reason = match error {
        oidc::Error::Token { .. } => Reason::OidcTokenInvalid,
        oidc::Error::Issuer => Reason::OidcIssuerUnknown,
        oidc::Error::Unavailable { .. } => Reason::OidcUnavailable,
    };
    Error::refused(reason, error.to_string())
}
