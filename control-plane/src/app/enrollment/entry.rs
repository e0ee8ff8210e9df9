//! By what a host is let in: what is looked at before anything is signed, and again
//! in the write that makes the node.

use std::net::IpAddr;

use muster_common::{clock::UnixMillis, digest::Sha256, reason::Reason};
use muster_domain::{
    audit::Note,
    enrolled_with::{EnrolledWith, HostCertificate},
    event::{Happened, Kind},
    facts::Facts,
    join_request::{JoinRequest, State},
    join_token::{self, JoinToken},
    labels::Labels,
    node::Node,
};
use muster_store::{
    ReadJoinRequests, ReadJoinTokens, ReadNodes, ReadSpentTokens, WriteJoinRequests as _,
    WriteJoinTokens as _, WriteNodes as _, WriteSpentTokens as _, WriteTx,
};
use serde_json::json;

use crate::{
    app::{Error, events, join_requests},
    host_ca, oidc,
};

/// By what a host wants in.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// Hash of a join token's secret.
    Token(Sha256),
    /// An issuer's token that passed every check.
    Oidc(oidc::Passed),
    /// A certificate of another authority that passed every check.
    HostCertificate(host_ca::Passed),
}

/// What becomes of it.
pub(super) enum Verdict {
    /// It is this node; the reply was lost.
    Known(Box<Node>),
    /// It becomes a node.
    Enters(Ticket),
    /// A person must say yes first, and does not know of it yet.
    Asks(JoinToken),
}

/// By what a host is let in.
pub(super) enum Ticket {
    /// A token; with the request that was approved, if one was needed.
    Token(JoinToken, Option<Box<JoinRequest>>),
    /// An issuer's token.
    Oidc(oidc::Passed),
    /// A certificate of another authority.
    HostCertificate(host_ca::Passed),
}

impl Entry {
    /// What becomes of a host with this key.
    pub(super) fn judge<R>(
        &self,
        tx: &mut R,
        key_sha256: &[u8],
        now: UnixMillis,
        remote: IpAddr,
    ) -> Result<Verdict, Error>
    where
        R: ReadJoinTokens + ReadJoinRequests + ReadNodes + ReadSpentTokens,
    {
        match self {
            Self::Token(secret_sha256) => {
                let token = tx.join_token_by_secret(secret_sha256.as_bytes())?;
                let token =
                    token.ok_or_else(|| Error::refused(Reason::TokenUnknown, "no such join token"))?;
                if let Some(known) = tx.node_by_enrolled_key(key_sha256)? {
                    return again(known, &token.id.into());
                }
                by_token(tx, token, key_sha256, now, remote)
            }
            Self::Oidc(passed) => {
                if let Some(known) = tx.node_by_enrolled_key(key_sha256)? {
                    return again(known, &EnrolledWith::Oidc(passed.issuer.clone()));
                }
                if passed.until <= now {
                    return Err(Error::refused(Reason::OidcTokenInvalid, "exp: it has run out"));
                }
                if tx.spent_token_is_known(&passed.id)? {
                    return Err(spent());
                }
                Ok(Verdict::Enters(Ticket::Oidc(passed.clone())))
            }
            Self::HostCertificate(passed) => {
                if passed.until <= now {
                    return Err(Error::refused(Reason::HostCertificateInvalid, "chain: it has run out"));
                }
                let with = enrolled_with(passed);
                if let Some(known) = tx.node_by_enrolled_key(key_sha256)? {
                    // Its certificate may have been renewed with another key since.
                    return match &known.enrolled_with {
                        EnrolledWith::HostCertificate(by) if by.authority == passed.authority => {
                            Ok(Verdict::Known(Box::new(known)))
                        }
                        _ => again(known, &with),
                    };
                }
                if let Some(taken) = tx.node_by_enrolled_with(&with)? {
                    let text = format!("this certificate is that of node {}; remove it first", taken.id);
                    return Err(Error::refused(Reason::HostCertificateUsed, text));
                }
                Ok(Verdict::Enters(Ticket::HostCertificate(passed.clone())))
            }
        }
    }
}

/// The reply was lost: the same key by the same way is the same node.
fn again(known: Node, with: &EnrolledWith) -> Result<Verdict, Error> {
    if known.enrolled_with == *with {
        return Ok(Verdict::Known(Box::new(known)));
    }
    Err(Error::refused(Reason::AlreadyExists, "this key is enrolled with another token"))
}

fn by_token<R: ReadJoinRequests>(
    tx: &mut R,
    token: JoinToken,
    key_sha256: &[u8],
    now: UnixMillis,
    remote: IpAddr,
) -> Result<Verdict, Error> {
    let waits = if token.require_approval { tx.join_request_by_key(token.id, key_sha256)? } else { None };
    let approved = waits.as_ref().is_some_and(|request| request.state == State::Approved);
    let judged = if approved { join_token::judge_approved } else { join_token::judge };
    judged(&token, now, remote).map_err(|reason| refused_token(reason, &token))?;
    match waits {
        Some(request) if approved => Ok(Verdict::Enters(Ticket::Token(token, Some(Box::new(request))))),
        Some(request) => Err(join_requests::told(&request)),
        None if token.require_approval => Ok(Verdict::Asks(token)),
        None => Ok(Verdict::Enters(Ticket::Token(token, None))),
    }
}

pub(super) fn refused_token(reason: Reason, token: &JoinToken) -> Error {
    Error::refused(reason, format!("join token {} cannot be used: {reason}", token.id))
}

fn enrolled_with(passed: &host_ca::Passed) -> EnrolledWith {
    HostCertificate { authority: passed.authority.clone(), key_sha256: passed.key_sha256 }.into()
}

fn spent() -> Error {
    Error::refused(Reason::OidcTokenInvalid, "jti: this token has let a node in; get another")
}

impl Ticket {
    /// The labels of the node: those of what let it in, and what the host asks for.
    pub(super) fn labels(&self, wish: &Labels) -> Result<Labels, Error> {
        let (requestable, own) = match self {
            Self::Token(token, _) => (&token.requestable, &token.labels),
            Self::Oidc(passed) => (&passed.requestable, &passed.labels),
            Self::HostCertificate(passed) => (&passed.requestable, &passed.labels),
        };
        Ok(requestable.grant(own, self.asked_for(wish))?)
    }

    /// What was shown to the person that said yes, whatever the host asks for now.
    fn asked_for<'a>(&'a self, wish: &'a Labels) -> &'a Labels {
        match self {
            Self::Token(_, Some(approved)) => &approved.requested_labels,
            Self::Token(_, None) | Self::Oidc(_) | Self::HostCertificate(_) => wish,
        }
    }

    /// Makes the node, and uses what let it in.
    pub(super) fn insert(&self, tx: &mut WriteTx<'_>, node: &Node, wish: &Labels) -> Result<Node, Error> {
        let labels = self.labels(wish)?;
        let (enrolled_with, by) = match self {
            Self::Token(token, approved) => {
                use_token(tx, token, approved.as_deref())?;
                let approved_by = approved.as_ref().map(|request| &request.decided_by);
                let by = json!({ "join_token": token.id, "approved_by": approved_by });
                (token.id.into(), by)
            }
            Self::Oidc(passed) => {
                if !tx.spent_token_insert(&passed.id, passed.until)? {
                    return Err(spent());
                }
                let by = json!({ "oidc_issuer": passed.issuer });
                (EnrolledWith::Oidc(passed.issuer.clone()), by)
            }
            Self::HostCertificate(passed) => {
                let by = json!({ "host_ca": passed.authority, "key_sha256": passed.key_sha256 });
                (enrolled_with(passed), by)
            }
        };
        let mut node = Node { labels, enrolled_with, ..node.clone() };
        if let Self::Token(_, Some(approved)) = self {
            as_approved(&mut node, approved);
        }
        tx.node_insert(&node)?;
        tx.audit(Note {
            subject: format!("node/{}", node.id),
            after: json!({
                "display_name": node.display_name,
                "labels": node.labels,
                "requested_labels": self.asked_for(wish),
                "enrolled_with": node.enrolled_with.to_string(),
                "by": by,
                "certificate_serial": node.certificate.current.serial,
            })
            .to_string(),
            ..Note::default()
        })?;
        let (name, with) = (&node.display_name, node.enrolled_with.to_string());
        let what = Happened::new(Kind::NodeEnrolled, &format!("{name} was enrolled")).to(node.id);
        events::tell(tx, what.with("enrolled_with", with).with("labels", json!(node.labels)))?;
        Ok(node)
    }
}

/// Who comes in is who was shown to the person that said yes, whatever it says now.
fn as_approved(node: &mut Node, request: &JoinRequest) {
    let name = &request.display_name;
    node.display_name = if name.is_empty() { node.id.to_string() } else { name.clone() };
    node.facts = Facts { hostname: request.hostname.clone(), ..Facts::default() }.into();
    node.machine_fingerprint = request.machine_fingerprint.as_slice().into();
}

fn use_token(tx: &mut WriteTx<'_>, token: &JoinToken, approved: Option<&JoinRequest>) -> Result<(), Error> {
    match approved {
        // Its use was counted with the approval.
        Some(request) => tx.join_request_delete(request.id)?,
        None if !tx.join_token_use_once(token.id)? => return Err(refused_token(Reason::TokenUsedUp, token)),
        None => {}
    }
    Ok(())
}
