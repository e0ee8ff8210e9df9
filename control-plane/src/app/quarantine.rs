//! Locking a node up, and letting it out.
//!
//! A node in quarantine stays connected, is told why, and gets nothing: no desired
//! state, no orders. What noticed it writes one audit entry that names everyone
//! who spoke as the node.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use muster_common::{
    backoff::Backoff,
    clock::UnixMillis,
    error_chain::Chain,
    ids::{InstanceId, NodeId},
    tasks::Kind,
    tls::spiffe::Principal,
};
use muster_domain::{
    access::{Permission, Scope},
    audit::{Note, Stamp},
    certificate::{NodeCertificate, Shown},
    event::{self, Happened},
    join_token::check_description,
    lane::Lane,
    node::Node,
    sighting::{Kept, Quarantine, Sighting, Suspicion},
};
use muster_store::WriteNodes as _;
use serde_json::json;

use super::{Actor, App, Error, events, nodes::node_in, restored, revocation::revoke_shared};

/// Between tries to store what was noticed.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(100);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);

impl App {
    /// Something was noticed outside of a session. The first suspicion stays.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn suspect(
        &self,
        id: NodeId,
        why: Suspicion,
        serial: String,
        remote: IpAddr,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut seen = self.fleet.with(id, |entry| entry.sightings.last_two()).unwrap_or_default();
        seen.push(Sighting {
            instance: InstanceId::from_u128(0), // it said no more than its certificate
            boot_id: String::new(),
            machine_fingerprint: Vec::new(),
            remote,
            at: now,
            serial,
        });
        let stamp = Stamp { remote_address: remote.to_string(), ..self.own_stamp("nodes.quarantine") };
        self.lock_up(stamp, id, Quarantine { reason: why, since: now, seen, newest: None }, String::new())
            .await
    }

    /// A certificate was shown that is none of this node's any more. If it was
    /// replaced by a renewal, two hosts have had it.
    pub fn suspect_replaced(&self, id: NodeId, serial: &str, began: UnixMillis, remote: IpAddr) {
        let was_replaced = self.fleet.with(id, |entry| {
            let node = &entry.node;
            let is_free = node.quarantine.is_none() && !entry.locking && node.kept.is_none();
            // Those that another host had, too, were told apart: its twin locks nobody up with one.
            is_free && began > node.own_since && node.certificate.judge(serial) == Shown::Superseded
        });
        let revoked = self.revocations.check(&Principal::Node(id), serial).is_err();
        if was_replaced != Some(true) || revoked {
            return;
        }
        let (app, serial) = (self.clone(), serial.to_owned());
        self.tasks.spawn("suspect", Kind::BestEffort, async move {
            if let Err(error) = app.suspect(id, Suspicion::ReplacedCertificate, serial, remote).await {
                tracing::error!(node = %id, error = %Chain(&error), "the quarantine of node {id} was not stored");
            }
        });
    }

    /// Locks a node up.
    ///
    /// # Errors
    /// If there is no such node, or the store fails.
    pub async fn quarantine_node(&self, actor: &Actor, id: NodeId, reason: String) -> Result<(), Error> {
        check_description(&reason).map_err(|violation| Error::invalid("reason", violation.description))?;
        let now = self.clock.now();
        let seen = self.fleet.with(id, |entry| entry.sightings.last_two()).unwrap_or_default();
        let quarantine = Quarantine { reason: Suspicion::ByOperator, since: now, seen, newest: None };
        self.lock_up_in(actor.scope.clone(), actor.stamp("nodes.quarantine", now), id, quarantine, reason)
            .await
    }

    /// A session noticed something: memory knows it at once, the store as soon as it can.
    pub(crate) fn lock_up_soon(&self, id: NodeId, quarantine: Quarantine, remote: IpAddr) {
        let app = self.clone();
        self.tasks.spawn("lock-up", Kind::BestEffort, async move {
            let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
            loop {
                let stamp = Stamp { remote_address: remote.to_string(), ..app.own_stamp("nodes.quarantine") };
                let mut done = app.lock_up(stamp, id, quarantine.clone(), String::new()).await;
                if done.is_ok() {
                    app.fleet.with(id, |mut entry| entry.locking = false);
                    // What was decided meanwhile was not taken in.
                    done = app.reload_nodes(vec![id]).await;
                }
                match done {
                    Ok(()) | Err(Error::NotFound { .. }) => break,
                    Err(error) => {
                        tracing::error!(node = %id, error = %Chain(&error), "the quarantine of node {id} was not stored");
                    }
                }
                tokio::select! {
                    () = app.drain.deadline() => break,
                    () = tokio::time::sleep(backoff.next_wait()) => {}
                }
            }
            app.fleet.with(id, |mut entry| entry.locking = false);
        });
    }

    /// Locks a node up for what the control plane noticed by itself.
    pub(crate) async fn lock_up(
        &self,
        stamp: Stamp,
        id: NodeId,
        quarantine: Quarantine,
        reason: String,
    ) -> Result<(), Error> {
        let scope = Scope::whole(stamp.actor.clone(), Permission::Secure);
        self.lock_up_in(scope, stamp, id, quarantine, reason).await
    }

    /// Locks a node up, once, and writes down who was seen.
    async fn lock_up_in(
        &self,
        scope: Scope,
        stamp: Stamp,
        id: NodeId,
        quarantine: Quarantine,
        reason: String,
    ) -> Result<(), Error> {
        let (why, app) = (quarantine.reason, self.clone());
        let locked = self
            .commit_in(Lane::Brake, stamp, move |tx| {
                let node = node_in(tx, &scope, id)?;
                if node.quarantine.is_some() || is_over(&node, &quarantine) {
                    return Ok(false);
                }
                if let Some(newest) = quarantine.newest
                    && restored::is_known(tx, &node, newest)?
                {
                    return Ok(false);
                }
                tx.node_set_quarantine(id, Some(&quarantine), None)?;
                tx.audit(note(id, &quarantine, &reason))?;
                app.tell_bounded(tx, locked_up(&node, &quarantine, &reason))?;
                Ok(true)
            })
            .await?;
        if locked {
            self.quarantined(id, why);
        }
        Ok(())
    }

    /// Says that a node was locked up.
    pub(crate) fn quarantined(&self, id: NodeId, why: Suspicion) {
        self.metrics.quarantined(why.as_str());
        let reason = why.as_str();
        tracing::error!(node = %id, reason, "node {id} was put in quarantine: {}", why.describe());
    }

    /// Lets a node out, and has it renew with a new key. `keep`: the process that
    /// is the right one; others with the same certificate are refused until then,
    /// and their certificate is revoked when the right one has its new one. A
    /// certificate that was shown and is the node's no more is revoked at once.
    ///
    /// # Errors
    /// If there is no such node, nobody was seen of that name, or the store fails.
    pub async fn release_quarantine(
        &self,
        actor: &Actor,
        id: NodeId,
        keep: Option<InstanceId>,
        reason: String,
    ) -> Result<(), Error> {
        check_description(&reason).map_err(|violation| Error::invalid("reason", violation.description))?;
        let known = self
            .fleet
            .with(id, |entry| {
                if !actor.scope.sees(&entry.node) {
                    return None;
                }
                let seen = entry.node.quarantine.as_ref().map(|found| found.seen.clone()).unwrap_or_default();
                let turned_away = entry.turned_away.all().to_vec();
                Some([seen, entry.sightings.last_two(), turned_away].concat())
            })
            .flatten()
            .ok_or_else(|| Error::not_found("node", &id))?;
        let kept = match keep {
            None => None,
            Some(instance) => {
                let found = known.into_iter().rev().find(|seen| seen.instance == instance);
                let text = "nobody of this name spoke as the node";
                Some(found.ok_or_else(|| Error::invalid("keep_instance_id", text))?)
            }
        };
        let machine = kept.as_ref().map(|seen| seen.machine_fingerprint.clone());
        // What was shown a moment ago may not be stored yet.
        let (held, newest) = self
            .fleet
            .with(id, |entry| {
                let newest = entry.live.as_ref().map(|live| live.newest).unwrap_or_default();
                (Some(entry.node.certificate.clone()), newest)
            })
            .unwrap_or_default();
        let scope = actor.scope.clone();
        let (now, by) = (self.clock.now(), actor.principal.clone());
        let stamp = actor.stamp("nodes.release-quarantine", now);
        // Whoever sees the write first takes it in, and ends the session of who is not kept.
        // In the lane of the quarantine: one that is said after this must not come before it.
        self.commit_in(Lane::Brake, stamp, move |tx| {
            let node = node_in(tx, &scope, id)?;
            let good = held.iter().chain([&node.certificate]).flat_map(NodeCertificate::serials);
            let good: BTreeSet<String> = good.map(ToString::to_string).collect();
            let told = node.quarantine.iter().flat_map(|found| found.seen.iter()).map(|seen| &seen.serial);
            let stale: BTreeSet<String> =
                told.filter(|serial| !serial.is_empty() && !good.contains(*serial)).cloned().collect();
            revoke_shared(tx, &Vec::from_iter(stale), now, &by)?;
            // Nor is what a release before this one has not revoked yet forgotten.
            let before = node.kept.iter().flat_map(|kept| kept.serials.clone());
            let serials: BTreeSet<String> = good.into_iter().chain(before).collect();
            let only = keep.map(|instance| Kept { instance, serials: serials.into_iter().collect() });
            let next = match node.quarantine.as_deref() {
                Some(held) => restored::after_release(tx, &node, held, newest)?,
                None => None,
            };
            tx.node_set_quarantine(id, next.as_ref(), machine.as_deref())?;
            if next.is_none() && node.quarantine.is_some() {
                events::tell(tx, released(&node, &reason))?;
            }
            tx.node_set_kept(id, only.as_ref())?;
            if let (Some(_), Some(newest)) = (keep, begin(held.iter().chain([&node.certificate]))) {
                tx.node_set_own_since(id, newest)?;
            }
            tx.audit(Note {
                subject: format!("node/{id}"),
                before: json!({ "quarantine": node.quarantine.as_ref().map(|q| q.reason.as_str()) })
                    .to_string(),
                after: json!({
                    "quarantine": next.as_ref().map(|q| q.reason.as_str()), "kept": kept.as_ref().map(shown),
                    "reason": reason,
                })
                .to_string(),
                ..Note::default()
            })?;
            Ok(())
        })
        .await
    }
}

/// As long as one process is kept, the others that share its certificate are refused:
/// what was noticed of them before is over with the release.
fn is_over(node: &Node, quarantine: &Quarantine) -> bool {
    let shown = quarantine.seen.last().map_or("", |seen| &seen.serial);
    let is_of_others = !matches!(quarantine.reason, Suspicion::ByOperator | Suspicion::NewerThanStore);
    is_of_others && node.kept.as_ref().is_some_and(|kept| kept.shares(shown))
}

/// Of the newest of some certificates.
fn begin<'a>(held: impl Iterator<Item = &'a NodeCertificate>) -> Option<UnixMillis> {
    held.flat_map(NodeCertificate::both).map(|it| it.not_before).max()
}

fn locked_up(node: &Node, quarantine: &Quarantine, reason: &str) -> Happened {
    let (name, why) = (&node.display_name, quarantine.reason);
    let seen: BTreeSet<String> = quarantine.seen.iter().map(|seen| seen.remote.to_string()).collect();
    Happened::new(event::Kind::NodeQuarantined, &format!("{name} was put in quarantine: {}", why.describe()))
        .to(node.id)
        .for_reason(why.as_str())
        .with("addresses", Vec::from_iter(seen).join(", "))
        .with("why", reason)
}

pub(super) fn released(node: &Node, reason: &str) -> Happened {
    let message = format!("{} was let out of quarantine", node.display_name);
    Happened::new(event::Kind::NodeReleased, &message).to(node.id).with("why", reason)
}

/// The entry of the audit: everyone who spoke as the node is named.
pub(crate) fn note(id: NodeId, quarantine: &Quarantine, reason: &str) -> Note {
    Note {
        subject: format!("node/{id}"),
        after: json!({
            "quarantine": quarantine.reason.as_str(),
            "reason": reason,
            "seen": quarantine.seen.iter().map(shown).collect::<Vec<_>>(),
        })
        .to_string(),
        ..Note::default()
    }
}

fn shown(seen: &Sighting) -> serde_json::Value {
    json!({
        "instance": seen.instance, "boot_id": seen.boot_id, "remote_address": seen.remote,
        "machine_fingerprint": hex::encode(&seen.machine_fingerprint), "at": seen.at.to_string(),
        "certificate_serial": seen.serial,
    })
}
