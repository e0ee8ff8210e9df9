//! Alerts as callers see them, and what they may say of one.

use muster_common::{ids::AlertId, reason::Reason};
use muster_domain::{
    access::Scope,
    alert::{Acknowledged, Alert, Subject},
    audit::Note,
    group::is_description,
    page::{Listed, Page},
};
use muster_store::{ChangeKind, ReadAlerts as _, ReadMeta as _, ReadReceivers as _, WriteAlerts as _};
use serde_json::json;

use super::{look, rule_of};
use crate::app::{Actor, App, Error, watch};

impl App {
    /// A page of alerts, the newest first; those that have ended, too, or not.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn alerts(&self, scope: &Scope, page: Page, ended: bool) -> Result<Listed<Alert>, Error> {
        let listed = self.store.read(move |tx| tx.alert_list(&page, ended).map_err(Error::from)).await?;
        let rows = listed.rows.into_iter().filter(|alert| self.shows_alert(scope, alert)).collect();
        Ok(Listed { rows, next: listed.next })
    }

    /// One alert.
    ///
    /// # Errors
    /// If it does not exist, for this scope.
    pub async fn alert(&self, scope: &Scope, id: AlertId) -> Result<Alert, Error> {
        let found = self.store.read(move |tx| tx.alert_get(id).map_err(Error::from)).await?;
        let shown = found.filter(|alert| self.shows_alert(scope, alert));
        shown.ok_or_else(|| Error::not_found("alert", &id))
    }

    /// All alerts that have not ended, and the revision from which to go on.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn alerts_now(&self, scope: &Scope) -> Result<(Vec<Alert>, u64), Error> {
        let read = self.store.read(|tx| Ok::<_, Error>((tx.revision()?, tx.alert_open_all()?)));
        let (revision, mut open) = read.await?;
        open.retain(|alert| self.shows_alert(scope, alert));
        Ok((open, revision))
    }

    /// Alerts that changed since a revision, as they are now, and the revision they reach.
    ///
    /// # Errors
    /// If the caller may not look any more, what changed is not kept any more, or the store fails.
    pub async fn alert_news(&self, scope: &Scope, from: u64) -> Result<(Vec<Alert>, u64), Error> {
        let scope = self.access.scope_now(scope, false).ok_or_else(watch::not_any_more)?;
        let (changes, reached) = self.changes(from).await?;
        let ids = watch::ids_of::<AlertId>(&changes, ChangeKind::Alert);
        if ids.is_empty() {
            return Ok((Vec::new(), reached));
        }
        let read = self.store.read(move |tx| {
            let mut found = Vec::new();
            for id in ids {
                found.extend(tx.alert_get(id)?);
            }
            Ok::<_, Error>(found)
        });
        let mut found = read.await?;
        found.retain(|alert| self.shows_alert(&scope, alert));
        Ok((found, reached))
    }

    /// Says that somebody looks after an alert.
    ///
    /// # Errors
    /// If it does not exist for this caller, or has ended.
    pub async fn acknowledge_alert(
        &self,
        actor: &Actor,
        id: AlertId,
        comment: String,
    ) -> Result<Alert, Error> {
        if !is_description(&comment) {
            return Err(Error::invalid("comment", "at most 1024 bytes, without control characters"));
        }
        let (now, by, app, scope) =
            (self.clock.now(), actor.principal.clone(), self.clone(), actor.scope.clone());
        self.commit(actor.stamp("alerts.acknowledge", now), move |tx| {
            let found = tx.alert_get(id)?.filter(|alert| app.shows_alert(&scope, alert));
            let before = found.ok_or_else(|| Error::not_found("alert", &id))?;
            if before.ended_at.is_some() {
                return Err(Error::refused(
                    Reason::StateConflict,
                    "it has ended: there is nothing to look after",
                ));
            }
            let acknowledged = Acknowledged { by: by.clone(), at: now, comment: comment.clone() };
            let after = Alert { acknowledged: Some(acknowledged), ..before };
            tx.alert_put(&after)?;
            let after = Alert { revision: tx.revision(), ..after };
            tx.audit(Note {
                subject: format!("alert/{id}"),
                after: json!({ "acknowledged": comment, "subject": after.subject }).to_string(),
                ..Note::default()
            })?;
            Ok(after)
        })
        .await
    }

    /// Makes an alert of a rule that ends by itself soon, to see the way to its receivers work.
    ///
    /// # Errors
    /// If there is no such rule.
    pub async fn test_fire_alert(&self, actor: &Actor, name: String) -> Result<Alert, Error> {
        let (now, id) = (self.clock.now(), AlertId::generate());
        self.commit(actor.stamp("alerts.test-fire", now), move |tx| {
            let rule = rule_of(tx, &name)?.ok_or_else(|| Error::not_found("rule", &name))?;
            let receivers = tx.receiver_all()?;
            let alert = Alert {
                reason: "Test".to_owned(),
                message: "somebody tries whether receivers are told: it ends by itself in a minute"
                    .to_owned(),
                is_test: true,
                ..rule.begun(id, Subject::Thing(format!("test/{id}")), now, now)
            };
            let (alert, news) = alert.news(&look::told(&rule, &receivers));
            look::put(tx, &alert, news.as_ref(), &receivers, now)?;
            let after = json!({ "alert": id, "receivers": alert.receivers }).to_string();
            tx.audit(Note { subject: format!("alert-rule/{name}"), after, ..Note::default() })?;
            Ok(Alert { revision: tx.revision(), ..alert })
        })
        .await
    }

    /// Whether a caller is shown an alert: about a node that it sees, or any with every node in scope.
    #[must_use]
    pub fn shows_alert(&self, scope: &Scope, alert: &Alert) -> bool {
        let sees = |node| self.fleet.with(node, |entry| scope.sees(&entry.node)).unwrap_or(false);
        match alert.subject {
            _ if scope.is_whole() => true,
            Subject::Node(node) => sees(node),
            Subject::Group(_) | Subject::Thing(_) => false,
        }
    }
}
