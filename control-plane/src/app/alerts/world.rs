//! What one look finds: one walk over the fleet for all rules, and what is about no node.

use std::time::Duration;

use muster_common::clock::UnixMillis;
use muster_domain::{
    alert::{Kind, NodeSeen, Rule, Signs, ahead, ends, sign},
    artifact::Repository,
    authority::{Authority, Standing},
    labels::Selector,
    rollout::{Phase, Rollout},
};
use muster_store::{ReadArtifacts as _, ReadAuthority as _, ReadRollouts as _};
use parking_lot::MutexGuard;

use crate::app::{App, Error, fleet::Entry};

/// A rollout that went back is told of for this long after its end: that took no longer than from one
/// look to the next, perhaps.
const LATELY: Duration = Duration::from_secs(300);
/// Of the rollouts that ended last so many are looked at.
const ENDED: u32 = 20;

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
        let mut signs = self.signs_of_nodes(watched, now).await;
        let read = self.store.read_own(|tx| {
            Ok::<_, Error>((tx.authority_get()?, tx.repository_get()?, tx.rollout_over_last(ENDED)?))
        });
        let (authority, repository, mut ended) = read.await?;
        let rollouts = self.rollouts.now();
        ended.retain(|it| {
            now.since(it.since) < LATELY && !rollouts.rollouts.iter().any(|open| open.id == it.id)
        });
        for (watched, signs) in watched.iter().zip(&mut signs) {
            let threshold = watched.rule.threshold;
            match (watched.rule.kind, &repository) {
                (Kind::AuthorityExpiry, _) => authority_ends(&authority, threshold, now, signs),
                (Kind::RepositoryExpiry, Some((repository, _))) => {
                    repository_ends(repository, threshold, now, signs);
                }
                (Kind::RolloutStopped, _) => {
                    rollouts.rollouts.iter().chain(&ended).for_each(|it| stopped(it, signs));
                }
                _ => {}
            }
        }
        Ok(signs)
    }

    async fn signs_of_nodes(&self, watched: &[Watched<'_>], now: UnixMillis) -> Vec<Signs> {
        let mut signs: Vec<Signs> = watched.iter().map(|_| Signs::default()).collect();
        let asks = |kind| matches!(kind, Kind::ClockSkew | Kind::DiskNearlyFull | Kind::VersionUnsupported);
        let asks_conditions = watched.iter().any(|it| asks(it.rule.kind));
        if !watched.iter().any(|it| it.rule.kind.is_of_nodes()) {
            return signs;
        }
        let visit = |entry: MutexGuard<'_, Entry>| {
            let conditions = if asks_conditions { self.conditions(&entry) } else { Vec::new() };
            let (node, state) = (&entry.node, entry.tracker.state());
            let seen = NodeSeen { node, state, conditions: &conditions, now };
            for (watched, signs) in watched.iter().zip(&mut signs) {
                let rule = watched.rule;
                if rule.kind.is_of_nodes() && watched.selector.matches(&node.labels, &node.facts) {
                    signs.add(node, &rule.damping.by, sign(rule.kind, rule.threshold, &seen));
                }
            }
        };
        self.fleet.visit(visit).await;
        signs
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
    let is_stopped = match rollout.phase {
        Phase::Paused | Phase::RollingBack => rollout.reason != "ByOperator",
        Phase::RolledBack => rollout.reason == "TooManyFailed",
        Phase::Running | Phase::Aborted | Phase::Succeeded => false,
    };
    if is_stopped {
        let (phase, what) = (rollout.phase.as_str(), &rollout.message);
        let message = format!("the rollout of assignment {} is {phase}: {what}", rollout.assignment);
        signs.add_thing(format!("rollout/{}", rollout.id), &rollout.reason, message, Some(rollout.since));
    }
}
