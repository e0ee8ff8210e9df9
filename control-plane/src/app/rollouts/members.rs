//! The nodes of a rollout, as its decision sees them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use muster_common::{clock::UnixMillis, ids::NodeId, reason::Reason};
use muster_domain::{
    assignment::Touch,
    effective::{self, Compiled},
    item::{ItemName, ItemState, ItemVersion},
    labels::{Selector, Unusable},
    liveness::State,
    rollout::{Answer, Member, Phase, Presence, Rollout, Standing, answer, is_open, order_of, zone},
};
use parking_lot::MutexGuard;

use super::pause::{self, TOLERANCE};
use crate::app::{
    App,
    catalog::{Contents, Wanted},
    fleet::{Entry, Fleet},
};

/// Nodes that fell silent within this time vanished together: at least so many, and at
/// least one in so many of those that were not touched.
const TOGETHER: Duration = Duration::from_secs(10 * 60);
const LEAST: usize = 3;
const PART: usize = 10;
/// Not well for less than this is a flap, and no failure.
const FLAP: Duration = Duration::from_secs(2 * 60);
/// A host that says how far it is has its patience anew each time, and so many times in all.
const MOST_PATIENCE: u32 = 4;
/// Who says one of these goes by its own will: it did not fall silent.
const SAID_SO: [&str; 2] = ["AgentStopped", "Disconnected"];

/// All members, and why those that failed did.
#[derive(Default)]
pub(super) struct Members {
    pub(super) all: Vec<Member>,
    /// Stable reasons.
    pub(super) why: HashMap<NodeId, String>,
    /// Time zones of the nodes, where there are windows.
    pub(super) zones: Vec<String>,
}

impl Members {
    /// Stable reasons, and how many nodes gave each.
    pub(super) fn failures(&self) -> BTreeMap<String, usize> {
        let mut failures = BTreeMap::new();
        for reason in self.why.values() {
            *failures.entry(reason.clone()).or_default() += 1;
        }
        failures
    }
}

/// Looks at every node of the fleet, with rests in which others work.
pub(super) async fn members(app: &App, catalog: &Contents, rollout: &Rollout, now: UnixMillis) -> Members {
    let mut found = Members::default();
    let Some(compiled) = catalog.assignment(&rollout.assignment) else { return found };
    let mut look = Look::new(app, rollout, compiled, catalog, now);
    let visit = |entry: MutexGuard<'_, Entry>| {
        if !compiled.reaches(&entry.node.labels, &entry.node.facts) {
            return;
        }
        let (standing, failure) = look.standing(&entry);
        found.why.extend(failure.map(|reason| (entry.node.id, reason)));
        found.all.push(look.member(&entry, standing));
    };
    app.fleet.visit(visit).await;
    found.zones = look.zones.into_keys().collect();
    found
}

/// Where one node stands. `None`: it does not belong to the rollout.
pub(super) fn standing_of(
    app: &App,
    entry: &Entry,
    catalog: &Contents,
    rollout: &Rollout,
    now: UnixMillis,
) -> Option<Standing> {
    let compiled = catalog.assignment(&rollout.assignment)?;
    let reaches = compiled.reaches(&entry.node.labels, &entry.node.facts);
    reaches.then(|| Look::new(app, rollout, compiled, catalog, now).standing(entry).0)
}

/// What is the same for all nodes, or for many.
struct Look<'a> {
    app: &'a App,
    rollout: &'a Rollout,
    compiled: &'a Compiled,
    catalog: &'a Contents,
    epoch: u64,
    now: UnixMillis,
    item: ItemName,
    /// Of the present step; one that cannot be used matches nobody.
    selector: Result<Option<Selector>, Unusable>,
    zones: HashMap<String, bool>,
    groups: HashMap<String, u32>,
}

impl<'a> Look<'a> {
    fn new(
        app: &'a App,
        rollout: &'a Rollout,
        compiled: &'a Compiled,
        catalog: &'a Contents,
        now: UnixMillis,
    ) -> Self {
        let step = rollout.plan.steps.get(rollout.step as usize);
        let selector = step.map_or(Ok(None), |step| step.reach.selector(&catalog.groups));
        let item = compiled.assignment.target.item();
        let (zones, groups) = (HashMap::new(), HashMap::new());
        let epoch = app.fixed.history.epoch;
        Self { app, rollout, compiled, catalog, epoch, now, item, selector, zones, groups }
    }

    fn member(&mut self, entry: &Entry, standing: Standing) -> Member {
        let node = &entry.node;
        Member {
            node: node.id,
            order: order_of(self.rollout.id, node.id),
            presence: match presence(entry) {
                // It is heard, and gets nothing now: it is not waited for.
                Presence::Here if pause::holds(&entry.conditions) => Presence::Away,
                presence => presence,
            },
            is_open: self.is_open(node.facts.timezone()),
            is_selected: self.selects(entry),
            group: self.group(entry),
            standing,
        }
    }

    fn selects(&self, entry: &Entry) -> bool {
        let matches = |it: &Selector| it.matches(&entry.node.labels, &entry.node.facts);
        self.selector.as_ref().is_ok_and(|selector| selector.as_ref().is_none_or(matches))
    }

    fn is_open(&mut self, timezone: &str) -> bool {
        let windows = &self.rollout.plan.windows;
        if windows.is_empty() {
            return true;
        }
        let now = self.now;
        *self.zones.entry(timezone.to_owned()).or_insert_with(|| is_open(windows, &zone(timezone), now))
    }

    fn group(&mut self, entry: &Entry) -> u32 {
        let Some(budget) = &self.rollout.plan.budget else { return 0 };
        let value = entry.node.labels.get(&budget.label).unwrap_or_default().to_owned();
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        *self.groups.entry(value).or_insert(next)
    }

    fn standing(&self, entry: &Entry) -> (Standing, Option<String>) {
        let node = &entry.node;
        if self.is_overruled(entry) {
            return (Standing::Excused, None); // it says nothing of what it does not get
        }
        let touch = self.compiled.assignment.touch_of(&node.touches);
        let Some(touch) = touch.filter(|touch| touch.rollout == self.rollout.id) else {
            return (Standing::Untouched, None);
        };
        if entry
            .live
            .as_ref()
            .is_some_and(|live| !live.capabilities.iter().any(|it| it == self.item.capability()))
        {
            return (Standing::Excused, None);
        }
        let wanted = self.catalog.wanted_of(node, &self.item, self.epoch);
        match wanted.as_ref().and_then(|wanted| self.app.withheld(entry, wanted)) {
            // Ours to mend: nobody else comes in its place, and it is not late.
            Some(Reason::ProtectedUnreadable) => return (Standing::Given { since: self.now }, None),
            Some(_) => return (Standing::Excused, None), // its agent is too old for it
            None => {}
        }
        self.judge(touch, wanted.as_ref(), entry)
    }

    /// Whether a stronger assignment decides what the node has of the item.
    fn is_overruled(&self, entry: &Entry) -> bool {
        let (node, ours) = (&entry.node, self.compiled.assignment.priority);
        let is_stronger =
            |it: &&Compiled| it.assignment.priority > ours && it.assignment.target.is_of(&self.item);
        let stronger = self.catalog.near(node).filter(is_stronger);
        self.item.has_one_giver()
            && !effective::candidates(&node.labels, &node.facts, &node.touches, stronger).is_empty()
    }

    fn judge(&self, touch: &Touch, wanted: Option<&Wanted>, entry: &Entry) -> (Standing, Option<String>) {
        let given = match self.rollout.phase {
            Phase::RollingBack => self.rollout.since,
            _ => touch.at,
        };
        // Who was away has its time from when it is back.
        let liveness = &entry.node.liveness;
        let since = if *liveness.reason == *"Connected" { given.max(liveness.since) } else { given };
        let since = pause::had_time_from(since, &entry.conditions, self.now);
        let reported = entry.reported(&self.item);
        let end = || ItemVersion::removal(self.catalog.generation(&self.item, &entry.node, self.epoch));
        let wanted = wanted.map_or_else(end, |wanted| wanted.version.clone());
        let judged = match answer(reported, &wanted) {
            Answer::Refused(refusal) => verdict(refusal, since),
            Answer::Unhealthy => unhealthy(reported, since, self.now),
            Answer::There => (Standing::Done, None),
            Answer::None if reported.is_some_and(|state| state.is_in_flight(&wanted)) => {
                let moved = entry.progressed.get(&self.item).copied();
                let most = since + self.rollout.plan.patience * (MOST_PATIENCE - 1);
                (Standing::Given { since: moved.map_or(since, |moved| moved.clamp(since, most)) }, None)
            }
            Answer::None => (Standing::Given { since }, None),
        };
        match judged {
            // Its host's will, as a lock is: it is not waited for until that ends.
            (Standing::Given { .. }, _) if pause::holds(&entry.conditions) => (Standing::Excused, None),
            judged => judged,
        }
    }
}

/// A flap is no failure: from when it is not well it has some time to be well again. A time that is to
/// come, by a clock that is off, puts nothing off.
fn unhealthy(reported: Option<&ItemState>, given: UnixMillis, now: UnixMillis) -> (Standing, Option<String>) {
    let ill = reported.and_then(|state| state.health.as_ref()).map_or(now, |health| health.since);
    if ill <= now + TOLERANCE && now.since(ill) < FLAP {
        return (Standing::Given { since: given.max(ill.min(now)) }, None);
    }
    (Standing::Failed, Some(Reason::ItemUnhealthy.to_string()))
}

/// Only what the change is, and what the host is, counts against it.
fn verdict(refusal: &ItemState, since: UnixMillis) -> (Standing, Option<String>) {
    use muster_domain::item::Cause;
    let error = refusal.error.as_ref();
    let reason = error.and_then(|error| error.reason);
    match error.and_then(|error| error.cause) {
        Some(Cause::Network | Cause::ControlPlane) => (Standing::Given { since }, None),
        // The host's own lock file, or what was removed there: its will, not a failure.
        _ if reason.is_some_and(Reason::is_hosts_will) => (Standing::Excused, None),
        _ => (Standing::Failed, Some(reason.map_or_else(|| "UNKNOWN".to_owned(), |it| it.to_string()))),
    }
}

fn presence(entry: &Entry) -> Presence {
    match entry.tracker.state() {
        State::Online | State::Late => Presence::Here,
        State::Offline if !SAID_SO.contains(&&*entry.node.liveness.reason) => {
            Presence::Lost { since: entry.node.liveness.since }
        }
        State::Offline | State::NeverSeen | State::Unknown | State::Expired | State::Quarantined => {
            Presence::Away
        }
    }
}

/// Nodes that vanished together after a moment, and are not back: so many fell silent
/// within some minutes, and the rollout had touched none of them.
pub(super) async fn vanished(fleet: &Fleet, after: UnixMillis, is_touched: impl Fn(&[Touch]) -> bool) -> u32 {
    let (mut here, mut lost) = (0, Vec::new());
    let visit = |entry: MutexGuard<'_, Entry>| match presence(&entry) {
        _ if is_touched(&entry.node.touches) => {}
        Presence::Here => here += 1,
        Presence::Lost { since } if since >= after => lost.push(since),
        Presence::Lost { .. } | Presence::Away => {}
    };
    fleet.visit(visit).await;
    lost.sort_unstable();
    // They are in order: what lies within the time of each is a piece.
    let together = |(n, from): (usize, &UnixMillis)| lost[n..].partition_point(|at| *at <= *from + TOGETHER);
    let most = lost.iter().enumerate().map(together).max().unwrap_or(0);
    if most >= LEAST && most * PART >= here + most { u32::try_from(most).unwrap_or(u32::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use muster_domain::item::{Cause, ItemError, Outcome};

    use super::*;

    fn refused(reason: Reason, cause: Cause) -> ItemState {
        let (message, output) = (String::new(), String::new());
        ItemState {
            item: ItemName::Release,
            running: None,
            attempted: None,
            outcome: Some(Outcome::Rejected),
            error: Some(ItemError { reason: Some(reason), cause: Some(cause), message, output }),
            changed_at: UnixMillis(7),
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    #[test]
    fn what_a_host_does_not_want_is_no_failure_of_the_change() {
        let since = UnixMillis(5);
        for reason in Reason::ALL.iter().copied() {
            let judged = verdict(&refused(reason, Cause::Host), since);
            let failed = (Standing::Failed, Some(reason.to_string()));
            assert_eq!(judged, if reason.is_hosts_will() { (Standing::Excused, None) } else { failed });
        }
        let will = [
            Reason::PathNotAllowed,
            Reason::HookDenied,
            Reason::LocalLock,
            Reason::ExtensionDenied,
            Reason::ExtensionRemovedHere,
            Reason::UpgradeDenied,
        ];
        for reason in Reason::ALL.iter().copied() {
            assert_eq!(will.contains(&reason), reason.is_hosts_will(), "{reason}");
        }
        let away = verdict(&refused(Reason::ExtensionVerbFailed, Cause::Network), since);
        assert_eq!(away, (Standing::Given { since }, None));
    }
}
