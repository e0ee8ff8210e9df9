//! Why a node has an item, has it not, or will have it: one answer, with the chain of
//! reasons in the order in which they decide.

mod host;
mod settings;

use muster_common::{clock::UnixMillis, ids::NodeId, reason::Reason as Code};
use muster_domain::{
    access::Scope,
    effective::{self, Compiled},
    item::{Cause, ItemName, ItemState, ItemVersion},
    labels::{Clause, Selector},
    liveness::State,
    rollout::{Hold, Standing},
};

use super::{
    App, Error,
    assignments::covers,
    catalog::{Contents, Wanted},
    fleet::Entry,
    rollouts::{Seen, rests},
};

/// The answer in one stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It runs what it should.
    InSync,
    /// It should not have it, and has it not.
    NotAssigned,
    /// An assignment is for it, and gives nothing yet but by a rollout.
    Held,
    /// A rollout brings it, and has not come to this node.
    WaitsForRollout,
    /// The node is in quarantine.
    Quarantined,
    /// Nobody hears it: it is told when it is back.
    NotHere,
    /// Its agent does not know what this asks for.
    AgentTooOld,
    /// The control plane cannot give it to anybody.
    Withheld,
    /// It has refused this for what it is: only another version changes that.
    Refused,
    /// It has failed for what the host is: the host tries again by itself.
    RetriedByHost,
    /// It is broken: a person is needed.
    Broken,
    /// It was told, and has not said what became of it.
    OnItsWay,
    /// It runs what it should, and something else changed a file of it.
    Drifted,
    /// It runs what it should, and that says it is not well.
    Unhealthy,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What it is about; one stable word.
    pub about: &'static str,
    /// Whether it speaks for the node to have what is asked about.
    pub holds: bool,
    /// For people.
    pub text: String,
}

/// Why a node has an item, or has it not.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// In one word.
    pub verdict: Verdict,
    /// In the order in which they decide.
    pub reasons: Vec<Reason>,
    /// What it should have. `None`: nothing.
    pub wanted: Option<ItemVersion>,
    /// What the host last said.
    pub reported: Option<ItemState>,
    /// When something changes by itself, if that is known.
    pub expected_at: Option<UnixMillis>,
}

/// What a host should have, and what it has made of that.
#[derive(Clone, Copy)]
struct OnHost<'a> {
    wanted: Option<&'a Wanted>,
    /// Its version, or the end of the item.
    version: &'a ItemVersion,
    reported: Option<&'a ItemState>,
}

impl Verdict {
    /// Its stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "InSync",
            Self::NotAssigned => "NotAssigned",
            Self::Held => "Held",
            Self::WaitsForRollout => "WaitsForRollout",
            Self::Quarantined => "Quarantined",
            Self::NotHere => "NotHere",
            Self::AgentTooOld => "AgentTooOld",
            Self::Withheld => "Withheld",
            Self::Refused => "Refused",
            Self::RetriedByHost => "RetriedByHost",
            Self::Broken => "Broken",
            Self::OnItsWay => "OnItsWay",
            Self::Drifted => "Drifted",
            Self::Unhealthy => "Unhealthy",
        }
    }
}

impl App {
    /// Why a node has an item, has it not, or will have it.
    ///
    /// # Errors
    /// If there is no such node in the scope.
    pub async fn explain_item(
        &self,
        scope: &Scope,
        id: NodeId,
        item: ItemName,
    ) -> Result<Explanation, Error> {
        self.node(scope, id)?;
        let catalog = self.catalog.now();
        let rollouts = self.rollouts_of(scope, &catalog, &item).await;
        let look = |entry: parking_lot::MutexGuard<'_, Entry>| {
            self.explain(scope, &entry, &catalog, &item, &rollouts)
        };
        self.fleet.with(id, look).ok_or_else(|| Error::not_found("node", &id))
    }

    /// The rollouts under way that bring the item to some nodes.
    async fn rollouts_of(&self, scope: &Scope, catalog: &Contents, item: &ItemName) -> Vec<Seen> {
        let mut found = Vec::new();
        for id in catalog.of_item(item).filter_map(|it| it.assignment.staged.rollout) {
            found.extend(self.rollout(scope, id).await); // one that is gone meanwhile explains nothing
        }
        found
    }

    fn explain(
        &self,
        scope: &Scope,
        entry: &Entry,
        catalog: &Contents,
        item: &ItemName,
        rollouts: &[Seen],
    ) -> Explanation {
        let mut reasons: Vec<Reason> = Vec::new();
        // Others' that are not for this node are nobody's business here.
        let is_shown = |it: &&Compiled| {
            it.reaches(&entry.node.labels, &entry.node.facts) || covers(&scope.reach, &it.assignment)
        };
        for compiled in catalog.of_item(item).filter(is_shown) {
            reasons.push(assignment(compiled, entry));
        }
        if reasons.is_empty() {
            reasons.push(no("Assignment", format!("no assignment that you see gives {item} to any node")));
        }
        let (waits, expected_at) = self.of_rollouts(entry, catalog, rollouts, &mut reasons);
        let wanted = catalog.wanted_of(&entry.node, item, self.fixed.history.epoch);
        reasons.extend(priority(entry, catalog, item));
        let reported = entry.reported(item).cloned();
        let end = || ItemVersion::removal(catalog.generation(item, &entry.node, self.fixed.history.epoch));
        let version = wanted.as_ref().map_or_else(end, |wanted| wanted.version.clone());
        let on_host = OnHost { wanted: wanted.as_ref(), version: &version, reported: reported.as_ref() };
        let of_host = self.of_host(entry, on_host, &mut reasons);
        if *item == ItemName::Settings {
            reasons.extend(settings::reasons(entry, catalog));
        }
        let verdict = match (waits, of_host) {
            // What it should have now is there; what is on its way to it is told of.
            (true, Verdict::InSync | Verdict::NotAssigned) => Verdict::WaitsForRollout,
            (false, Verdict::NotAssigned) if is_held(entry, catalog, item) => Verdict::Held,
            (_, of_host) => of_host,
        };
        let wanted = wanted.map(|wanted| wanted.version);
        let expected_at = expected_at.filter(|_| verdict == Verdict::WaitsForRollout);
        Explanation { verdict, reasons, wanted, reported, expected_at }
    }

    /// Whether the node waits for a rollout, and until when that is known.
    fn of_rollouts(
        &self,
        entry: &Entry,
        catalog: &Contents,
        rollouts: &[Seen],
        reasons: &mut Vec<Reason>,
    ) -> (bool, Option<UnixMillis>) {
        let (mut waits, mut expected_at) = (false, None);
        for seen in rollouts {
            let rollout = &seen.rollout;
            let Some(standing) = self.standing_in(entry, catalog, rollout) else { continue };
            let (id, steps) = (rollout.id, rollout.plan.steps.len());
            let step = rollout.step + 1;
            let text = format!("rollout {id} is {}, in step {step} of {steps}", rollout.phase.as_str());
            let (holds, of_node) = match standing {
                Standing::Untouched => {
                    waits |= !rollout.phase.is_over();
                    (false, "it has not come to this node yet".to_owned())
                }
                Standing::Given { since } => (true, format!("it gave it to this node at {since}")),
                Standing::Done => (true, "this node has it".to_owned()),
                Standing::Failed => (false, "this node has failed".to_owned()),
                Standing::Excused => (false, "this node does not take part".to_owned()),
            };
            let held =
                seen.waits_for.map(|hold| format!("; it waits: {}", hold.as_str())).unwrap_or_default();
            reasons.push(Reason { about: "Rollout", holds, text: format!("{text}: {of_node}{held}") });
            expected_at = match seen.waits_for {
                Some(Hold::Soak { until }) => Some(until),
                _ => seen.opens_at.or(expected_at),
            };
        }
        (waits, expected_at)
    }

    /// What the host makes of what it should have.
    fn of_host(&self, entry: &Entry, on_host: OnHost<'_>, reasons: &mut Vec<Reason>) -> Verdict {
        let OnHost { wanted, version, reported } = on_host;
        let is_there = reported.map_or(wanted.is_none(), |state| state.has(version));
        reasons.push(Reason { about: "Host", holds: is_there, text: host::said(reported) });
        reasons.extend(reported.and_then(host::health));
        let in_flight =
            reported.filter(|state| state.is_in_flight(version)).and_then(|it| it.progress.as_ref());
        reasons.extend(in_flight.map(host::progress));
        if is_there && in_flight.is_some() {
            return Verdict::OnItsWay; // what runs meanwhile is not the end of it
        }
        if is_there {
            return match wanted {
                Some(_) if reported.is_some_and(ItemState::is_unhealthy) => Verdict::Unhealthy,
                Some(_) if reported.is_some_and(ItemState::has_drifted) => Verdict::Drifted,
                Some(_) => Verdict::InSync,
                None => Verdict::NotAssigned,
            };
        }
        if entry.node.quarantine.is_some() {
            reasons.push(no("Quarantine", "the node is in quarantine, and gets nothing".to_owned()));
            return Verdict::Quarantined;
        }
        if !matches!(entry.tracker.state(), State::Online | State::Late) {
            let liveness = &entry.node.liveness;
            let text = format!("nobody hears the node since {}: {}", liveness.since, liveness.reason);
            reasons.push(no("Connection", text));
            return Verdict::NotHere;
        }
        match wanted.and_then(|wanted| self.withheld(entry, wanted)) {
            Some(Code::ProtectedUnreadable) => {
                let text = "the control plane cannot give a protected content of it: its log says why";
                reasons.push(no("Protected", text.to_owned()));
                return Verdict::Withheld;
            }
            Some(_) => {
                let text = "its agent is too old for what this asks for: it is not told";
                reasons.push(no("Agent", text.to_owned()));
                return Verdict::AgentTooOld;
            }
            None => {}
        }
        reasons.extend(rests(&entry.conditions).map(|text| no("Paused", text)));
        attempt(reported.filter(|state| state.has_refused(version)), reasons)
    }
}

/// What became of what it should have, on a host that is heard. `None`: it has not
/// refused just that.
fn attempt(refused: Option<&ItemState>, reasons: &mut Vec<Reason>) -> Verdict {
    let Some(state) = refused else {
        reasons.push(yes("Delivery", "it was told, and has not said yet what became of it".to_owned()));
        return Verdict::OnItsWay;
    };
    match state.error.as_ref().and_then(|error| error.cause) {
        _ if state.outcome == Some(muster_domain::item::Outcome::Broken) && !state.is_retried() => {
            reasons
                .push(no("Delivery", "the way back failed, too: a person is needed on the host".to_owned()));
            Verdict::Broken
        }
        Some(Cause::Host) => {
            reasons.push(yes("Delivery", "the host tries it again by itself".to_owned()));
            Verdict::RetriedByHost
        }
        Some(Cause::Network) if failed_for(state, Code::NotConfirmed) => {
            let text = "the host tries it again by itself, while it has a session";
            reasons.push(yes("Delivery", text.to_owned()));
            Verdict::RetriedByHost
        }
        Some(Cause::Network) if failed_for(state, Code::FetchFailed) => {
            reasons.push(yes("Delivery", "the host tries it again by itself".to_owned()));
            Verdict::RetriedByHost
        }
        Some(Cause::Network | Cause::ControlPlane) => {
            let text = "neither the item nor the host is at fault: it is tried again";
            reasons.push(yes("Delivery", text.to_owned()));
            Verdict::OnItsWay
        }
        Some(Cause::Content) | None => {
            let text = "the host does not try it again: only another version changes that";
            reasons.push(no("Delivery", text.to_owned()));
            Verdict::Refused
        }
    }
}

fn failed_for(state: &ItemState, reason: Code) -> bool {
    state.error.as_ref().is_some_and(|error| error.reason == Some(reason))
}

fn yes(about: &'static str, text: String) -> Reason {
    Reason { about, holds: true, text }
}

fn no(about: &'static str, text: String) -> Reason {
    Reason { about, holds: false, text }
}

/// Whether an assignment is for the node, and what of it decides.
fn assignment(compiled: &Compiled, entry: &Entry) -> Reason {
    let (it, node) = (&compiled.assignment, &entry.node);
    let name = &it.name;
    if !compiled.selector.matches(&node.labels, &node.facts) {
        let terms = terms(&compiled.selector, entry, |clause| !clause.holds);
        return no("Assignment", format!("{name:?} is not for this node: {terms}"));
    }
    if let Some(exclusion) = compiled.excluded_by(&node.labels, &node.facts) {
        let terms = terms(exclusion, entry, |_| true);
        return no("Excluded", format!("{name:?} excludes this node by {exclusion}: {terms}"));
    }
    if !compiled.scope.matches(&node.labels, &node.facts) {
        return no(
            "Assignment",
            format!("{name:?} does not reach it: its maker may not deploy to this node"),
        );
    }
    match it.target_for(&node.touches) {
        Some(target) => yes("Assignment", format!("{name:?} gives {target} with priority {}", it.priority)),
        None if it.staged.held => {
            no("Assignment", format!("{name:?} is held: it gives nothing but by a rollout"))
        }
        None => no("Assignment", format!("{name:?} gives nothing to this node")),
    }
}

/// Some terms of a selector, with what the node has there.
fn terms(selector: &Selector, entry: &Entry, which: impl Fn(&Clause) -> bool) -> String {
    let clauses = selector.explain(&entry.node.labels, &entry.node.facts);
    let told: Vec<String> = clauses.iter().filter(|clause| which(clause)).map(term).collect();
    told.join(", ")
}

fn term(clause: &Clause) -> String {
    let text = &clause.text;
    match (&clause.within, &clause.found) {
        (Some(within), _) if within.is_empty() => format!("{text} (every node is in the group)"),
        (Some(within), _) => {
            let within = within.iter().map(|it| {
                let holds = if it.holds { "holds" } else { "does not hold" };
                format!("{} {holds}", term(it))
            });
            format!("{text} (of the group: {})", within.collect::<Vec<_>>().join(", "))
        }
        (None, Some(found)) => format!("{text} (it is {found:?})"),
        (None, None) => format!("{text} (there is none)"),
    }
}

/// Which of several assignments decides.
fn priority(entry: &Entry, catalog: &Contents, item: &ItemName) -> Option<Reason> {
    let node = &entry.node;
    let of_item = catalog.of_item(item);
    let giving = effective::candidates(&node.labels, &node.facts, &node.touches, of_item);
    let (first, rest) = giving.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let others: Vec<String> = rest.iter().map(|it| format!("{:?}", it.by.assignment.name)).collect();
    let text = format!("{:?} decides over {}", first.by.assignment.name, others.join(", "));
    Some(yes("Priority", text))
}

fn is_held(entry: &Entry, catalog: &Contents, item: &ItemName) -> bool {
    let node = &entry.node;
    catalog.of_item(item).any(|it| it.assignment.staged.held && it.reaches(&node.labels, &node.facts))
}
