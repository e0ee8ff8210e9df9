//! What one look finds: one walk over the fleet for all rules, and what is about no node.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{clock::UnixMillis, ids::NodeId};
use muster_domain::{
    alert::{Cause, Found, Kind, NodeSeen, Rule, Signs, Subject, ahead, common, ends, of_group, sign},
    artifact::Repository,
    authority::{Authority, Standing},
    labels::{Labels, Selector},
    rollout::{Phase, Rollout},
};
use muster_store::{ReadArtifacts as _, ReadAuthority as _};

use crate::app::{App, Error};

/// A rule, and the nodes that it is about now.
pub(super) struct Watched<'a> {
    pub(super) rule: &'a Rule,
    pub(super) selector: Selector,
}

impl App {
    /// What there is to be found for each rule.
    pub(super) async fn alert_signs(
        &self,
        watched: &[Watched<'_>],
        now: UnixMillis,
    ) -> Result<Vec<Signs>, Error> {
        let mut signs = self.signs_of_nodes(watched, now);
        let read = self.store.read_own(|tx| Ok::<_, Error>((tx.authority_get()?, tx.repository_get()?)));
        let (authority, repository) = read.await?;
        let rollouts = self.rollouts.now();
        for (watched, signs) in watched.iter().zip(&mut signs) {
            let threshold = watched.rule.threshold;
            match (watched.rule.kind, &repository) {
                (Kind::AuthorityExpiry, _) => authority_ends(&authority, threshold, now, signs),
                (Kind::RepositoryExpiry, Some((repository, _))) => {
                    repository_ends(repository, threshold, now, signs);
                }
                (Kind::RolloutStopped, _) => rollouts.rollouts.iter().for_each(|it| stopped(it, signs)),
                _ => {}
            }
        }
        Ok(signs)
    }

    fn signs_of_nodes(&self, watched: &[Watched<'_>], now: UnixMillis) -> Vec<Signs> {
        let mut signs: Vec<Signs> = watched.iter().map(|_| Signs::default()).collect();
        let asks = |kind| matches!(kind, Kind::ClockSkew | Kind::DiskNearlyFull | Kind::VersionUnsupported);
        let asks_conditions = watched.iter().any(|it| asks(it.rule.kind));
        if !watched.iter().any(|it| it.rule.kind.is_of_nodes()) {
            return signs;
        }
        self.fleet.for_each(|entry| {
            let conditions = if asks_conditions { self.conditions(&entry) } else { Vec::new() };
            let (node, state) = (&entry.node, entry.tracker.state());
            let seen = NodeSeen { node, state, conditions: &conditions, now };
            for (watched, signs) in watched.iter().zip(&mut signs) {
                let rule = watched.rule;
                if rule.kind.is_of_nodes() && watched.selector.matches(&node.labels, &node.facts) {
                    signs.add(node, &rule.damping.by, sign(rule.kind, rule.threshold, &seen));
                }
            }
        });
        signs
    }

    /// What the nodes of a group that have one alert have in common.
    pub(super) fn cause(&self, watched: &Watched<'_>, group: &str, signs: &Signs) -> Cause {
        let members: Vec<&Found> = signs
            .found
            .iter()
            .filter(|found| found.group == group && matches!(found.subject, Subject::Node(_)))
            .collect();
        let mut reasons = BTreeMap::<String, usize>::new();
        for found in &members {
            *reasons.entry(found.reason.clone()).or_default() += 1;
        }
        // Those that are about to have it, too: at the first look they are most of them.
        let near: Vec<NodeId> =
            signs.near.iter().filter(|(_, of)| of == group).map(|(node, _)| *node).collect();
        let mut of_members: Vec<Labels> = members.iter().map(|found| found.labels.clone()).collect();
        of_members.extend(near.iter().filter_map(|node| self.fleet.with(*node, |it| it.node.labels.clone())));
        let shared = common(of_members.iter());
        let mut counts = vec![0; shared.len()];
        self.fleet.for_each(|entry| {
            let node = &entry.node;
            if watched.selector.matches(&node.labels, &node.facts) {
                for (label, count) in shared.iter().zip(&mut counts) {
                    *count += usize::from(node.labels.get(&label.key) == Some(label.value.as_str()));
                }
            }
        });
        let labels: Vec<_> = shared.into_iter().zip(counts).collect();
        let total = signs.totals.get(group).copied().unwrap_or(0);
        of_group(watched.rule.kind, group, (members.len() + near.len(), near.len(), total), &labels, &reasons)
    }
}

fn authority_ends(authority: &Authority, threshold: Duration, now: UnixMillis, signs: &mut Signs) {
    for slot in authority.slots.iter().filter(|slot| slot.standing == Standing::Active) {
        let ahead = ahead(threshold, slot.created_at, slot.not_after);
        if slot.not_after <= now + ahead {
            let message =
                format!("the certificate authority {}: begin its rotation", ends(slot.not_after, now));
            let name = format!("authority/{}", slot.number);
            signs.add_thing(name, "EndsSoon", message, Some(slot.not_after - ahead));
        }
    }
}

fn repository_ends(repository: &Repository, threshold: Duration, now: UnixMillis, signs: &mut Signs) {
    for (name, role) in repository.roles() {
        let ahead = ahead(threshold, role.since, role.expires_at);
        if role.expires_at <= now + ahead {
            let end = ends(role.expires_at, now);
            let message = format!("the {name} metadata of the signed repository: it {end}, sign it again");
            let since = Some(role.expires_at - ahead);
            signs.add_thing(format!("repository/{name}"), "EndsSoon", message, since);
        }
    }
}

fn stopped(rollout: &Rollout, signs: &mut Signs) {
    let is_stopped = matches!(rollout.phase, Phase::Paused | Phase::RollingBack);
    if is_stopped && rollout.reason != "ByOperator" {
        let (phase, what) = (rollout.phase.as_str(), &rollout.message);
        let message = format!("the rollout of assignment {} is {phase}: {what}", rollout.assignment);
        signs.add_thing(format!("rollout/{}", rollout.id), &rollout.reason, message, Some(rollout.since));
    }
}
