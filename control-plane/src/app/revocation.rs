//! Who is not let in any more.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use muster_common::{error_chain::Chain, reason::Reason, tasks::Kind, tls::spiffe::Principal};
use muster_domain::{
    access::{Permission, Scope},
    audit::Note,
    join_token::check_description,
    revocation::{Revocation, Subject},
};
use muster_store::{ReadAuthority as _, WriteAuthority as _};
use serde_json::json;

use super::{Actor, App, Error};

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
        self.commit(actor.stamp("identity.revoke", now), move |tx| {
            if tx.revocation_put(&wish)? {
                tx.audit(Note {
                    subject: wish.subject.to_string(),
                    after: json!({ "revoked": true, "reason": wish.reason }).to_string(),
                    ..Note::default()
                })?;
                return Ok(wish.clone());
            }
            tx.audit(Note { subject: wish.subject.to_string(), ..Note::default() })?;
            Ok(tx.revocation_get(&wish.subject)?.unwrap_or_else(|| wish.clone()))
        })
        .await
    }

    /// Lets a subject in again.
    ///
    /// # Errors
    /// If it is not revoked, or the store fails.
    pub async fn delete_revocation(&self, actor: &Actor, subject: Subject) -> Result<(), Error> {
        self.commit(actor.stamp("identity.unrevoke", self.clock.now()), move |tx| {
            if !tx.revocation_delete(&subject)? {
                return Err(Error::not_found("revocation", &subject));
            }
            tx.audit(Note {
                subject: subject.to_string(),
                before: json!({ "revoked": true }).to_string(),
                ..Note::default()
            })?;
            Ok(())
        })
        .await
    }

    /// The certificate that a released node had in common with its twin. Best
    /// effort: if it fails, the twin is noticed again.
    pub(crate) fn revoke_replaced(&self, serial: String) {
        let app = self.clone();
        self.tasks.spawn("revoke-replaced", Kind::BestEffort, async move {
            let principal = format!("control-plane/{}", app.fixed.replica);
            let actor = Actor {
                scope: Scope::whole(principal.clone(), Permission::Secure),
                principal,
                remote_address: String::new(),
                trace_id: String::new(),
            };
            let reason = "another host held it, too".to_owned();
            if let Err(error) = app.revoke(&actor, Subject::Serial(serial), reason).await {
                tracing::warn!(error = %Chain(&error), "a certificate that two hosts held was not revoked");
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
