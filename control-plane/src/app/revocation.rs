//! Who is not let in any more.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use muster_common::{
    clock::UnixMillis, error_chain::Chain, ids::NodeId, reason::Reason, tasks::Kind, tls::spiffe::Principal,
};
use muster_domain::{
    audit::Note,
    event::{self, Happened},
    join_token::check_description,
    lane::Lane,
    revocation::{Revocation, Subject},
    sighting::Kept,
};
use muster_store::{ReadAuthority as _, ReadNodes as _, WriteAuthority as _, WriteNodes as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error, events};

/// What is revoked, in memory: asked at every call.
#[derive(Default)]
pub struct Revocations(ArcSwap<HashMap<Subject, Revocation>>);

impl Revocations {
    /// Whether a caller is let in.
    ///
    /// # Errors
    /// `CERTIFICATE_REVOKED`.
    pub fn check(&self, principal: &Principal, serial: &str) -> Result<(), Reason> {
        let now = self.0.load();
        if now.is_empty() {
            return Ok(()); // nearly always
        }
        let revoked = now.contains_key(&Subject::Principal(principal.clone()))
            || now.contains_key(&Subject::Serial(serial.to_owned()));
        if revoked { Err(Reason::CertificateRevoked) } else { Ok(()) }
    }

    /// All of them, by subject.
    #[must_use]
    pub fn all(&self) -> Vec<Revocation> {
        let mut all: Vec<Revocation> = self.0.load().values().cloned().collect();
        all.sort_by_key(|revocation| revocation.subject.to_string());
        all
    }

    /// Puts others in the place of these. Answers who is newly among them.
    fn replace(&self, revocations: Vec<Revocation>) -> Vec<Subject> {
        let next: HashMap<Subject, Revocation> =
            revocations.into_iter().map(|revocation| (revocation.subject.clone(), revocation)).collect();
        let subjects: Vec<Subject> = next.keys().cloned().collect();
        let before = self.0.swap(Arc::new(next));
        subjects.into_iter().filter(|subject| !before.contains_key(subject)).collect()
    }
}

impl App {
    /// Lets a subject in no more. The same again answers what is there.
    ///
    /// # Errors
    /// If the reason is no line of text, or the store fails.
    pub async fn revoke(&self, actor: &Actor, subject: Subject, reason: String) -> Result<Revocation, Error> {
        check_description(&reason).map_err(|violation| Error::invalid("reason", violation.description))?;
        let now = self.clock.now();
        let wish = Revocation { subject, reason, at: now, by: actor.principal.clone() };
        self.commit_in(Lane::Brake, actor.stamp("identity.revoke", now), move |tx| {
            if put(tx, &wish)? {
                return Ok(wish.clone());
            }
            Ok(tx.revocation_get(&wish.subject)?.unwrap_or_else(|| wish.clone()))
        })
        .await
    }

    /// Lets a subject in again.
    ///
    /// # Errors
    /// If it is not revoked, or the store fails.
    pub async fn delete_revocation(&self, actor: &Actor, subject: Subject) -> Result<(), Error> {
        // In the lane of the revocation: one that is said after this must not come before it.
        self.commit_in(Lane::Brake, actor.stamp("identity.unrevoke", self.clock.now()), move |tx| {
            if !tx.revocation_delete(&subject)? {
                return Err(Error::not_found("revocation", &subject));
            }
            tx.audit(Note {
                subject: subject.to_string(),
                before: json!({ "revoked": true }).to_string(),
                ..Note::default()
            })?;
            events::tell(tx, let_in(&subject, true, ""))
        })
        .await
    }

    /// The certificates that a released node had in common with its twin. If it fails,
    /// the store still knows the node as the one process: a session after the next look
    /// at the store tries again.
    pub(crate) fn revoke_replaced(&self, id: NodeId, kept: Kept) {
        let app = self.clone();
        self.tasks.spawn("revoke-replaced", Kind::BestEffort, async move {
            let stamp = app.own_stamp("identity.revoke");
            let (at, by) = (stamp.at, stamp.actor.clone());
            let done = app.commit_in(Lane::Brake, stamp, move |tx| {
                revoke_shared(tx, &kept.serials, at, &by)?;
                tx.audit(Note { subject: format!("node/{id}"), ..Note::default() })?;
                // Somebody may have released it as another process meanwhile.
                if tx.node_get(id)?.is_some_and(|node| node.kept.as_deref() == Some(&kept)) {
                    tx.node_set_kept(id, None)?;
                }
                Ok(())
            });
            if let Err(error) = done.await {
                tracing::warn!(node = %id, error = %Chain(&error), "certificates that two hosts held were not revoked");
            }
        });
    }

    pub(crate) async fn reload_revocations(&self) -> Result<(), Error> {
        let all = self.store.read(|tx| tx.revocation_all().map_err(Error::from)).await?;
        // In force before anything is cut: whoever comes back finds the door shut.
        for subject in self.revocations.replace(all) {
            let cut = self.lines.cut(&subject);
            tracing::warn!(%subject, cut, "{subject} is revoked: {cut} connections were cut");
        }
        Ok(())
    }
}

/// Certificates that two hosts held.
pub(super) fn revoke_shared(
    tx: &mut WriteTx<'_>,
    serials: &[String],
    at: UnixMillis,
    by: &str,
) -> Result<(), Error> {
    for serial in serials {
        let subject = Subject::Serial(serial.clone());
        let reason = "another host held it, too".to_owned();
        put(tx, &Revocation { subject, reason, at, by: by.to_owned() })?;
    }
    Ok(())
}

/// Lets a subject in no more, with the entry of the audit. Whether it is new.
pub(crate) fn put(tx: &mut WriteTx<'_>, wish: &Revocation) -> Result<bool, Error> {
    let is_new = tx.revocation_put(wish)?;
    let after =
        if is_new { json!({ "revoked": true, "reason": wish.reason }).to_string() } else { String::new() };
    tx.audit(Note { subject: wish.subject.to_string(), after, ..Note::default() })?;
    if is_new {
        events::tell(tx, let_in(&wish.subject, false, &wish.reason))?;
    }
    Ok(is_new)
}

fn let_in(subject: &Subject, again: bool, why: &str) -> Happened {
    let (kind, message) = match again {
        true => (event::Kind::AccessAllowed, format!("{subject} is let in again")),
        false => (event::Kind::AccessDenied, format!("{subject} is let in no more")),
    };
    let what = Happened::new(kind, &message).about(subject).with("why", why);
    match subject {
        Subject::Principal(Principal::Node(node)) => what.to(*node),
        _ => what,
    }
}
