//! From what is found to what changes of the alerts of one rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, NodeId},
};

use super::{Alert, Found, Rule, Signs, Subject};
use crate::labels::Labels;

/// Nodes of a group that an alert names.
pub const SHOWN_MEMBERS: usize = 100;

/// Since when what is found is so, where nothing else says it. Of one process: another one
/// begins anew, and an alert that is open stays so meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Memory(BTreeMap<Subject, Known>);

/// Of something for which it is so.
#[derive(Debug, Clone)]
struct Known {
    mark: String,
    since: UnixMillis,
    /// Something else was so of it before: it moves.
    moved: bool,
}

/// What is found in one group and has no alert of its own, and what has one for a short while.
#[derive(Default)]
struct Crowd<'a> {
    ripe: Vec<&'a Found>,
    recent: Vec<&'a Alert>,
    near: usize,
    /// Of whom nobody can say, and for whom it was so when somebody could.
    held: Vec<NodeId>,
}

/// What is looked at, and since when.
struct Look<'a> {
    rule: &'a Rule,
    signs: &'a Signs,
    memory: &'a Memory,
    now: UnixMillis,
}

/// The alerts that begin, change or end, by what one look has found for a rule. `open`: its alerts that
/// have not ended, no tests among them; `id`: a new one with each call.
pub fn evaluate(
    rule: &Rule,
    signs: &Signs,
    open: &[Alert],
    memory: &mut Memory,
    mut id: impl FnMut() -> AlertId,
    now: UnixMillis,
) -> Vec<Alert> {
    memory.look(signs, rule.hold, now);
    let look = Look { rule, signs, memory, now };
    let (groups, single): (Vec<&Alert>, Vec<&Alert>) =
        open.iter().partition(|alert| matches!(alert.subject, Subject::Group(_)));
    let mut changes: BTreeMap<AlertId, Alert> =
        look.turn_single(&single).into_iter().map(|alert| (alert.id, alert)).collect();
    let (things, crowds) = look.crowds(&single, &groups);
    let mut begins = things;
    for (group, crowd) in &crowds {
        let own = groups.iter().find(|alert| matches!(&alert.subject, Subject::Group(it) if it == group));
        let (changed, alone) = look.turn_group(group, crowd, own.copied(), &mut id);
        changes.extend(changed.into_iter().map(|alert| (alert.id, alert)));
        if alone {
            begins.extend(&crowd.ripe);
        }
    }
    let begun = begins.into_iter().map(|found| look.one(found, id()));
    let begun: Vec<Alert> = begun.collect();
    changes.into_values().chain(begun).collect()
}

impl<'a> Look<'a> {
    /// Alerts of one node, or of another thing: those that are told otherwise now, and those that end.
    fn turn_single(&self, open: &[&Alert]) -> Vec<Alert> {
        let found: BTreeMap<&Subject, &Found> = self.signs.found.iter().map(|it| (&it.subject, it)).collect();
        let unknown: BTreeSet<NodeId> = self.signs.unknown.iter().map(|(node, _)| *node).collect();
        let turned = |alert: &&Alert| match (found.get(&alert.subject), &alert.subject) {
            (Some(found), _) if self.memory.has_moved(found) && !self.is_ripe(found) => {
                Some(alert.ended("Resolved", self.now))
            }
            (Some(found), _) if alert.reason == found.reason && alert.message == found.message => None,
            (Some(found), _) => Some(Alert {
                reason: found.reason.clone(),
                message: found.message.clone(),
                ..(*alert).clone()
            }),
            (None, Subject::Node(node)) if unknown.contains(node) => None,
            (None, _) => Some(alert.ended("Resolved", self.now)),
        };
        open.iter().filter_map(turned).collect()
    }

    fn is_ripe(&self, found: &Found) -> bool {
        self.now.since(self.memory.since(found, self.now)) >= self.rule.hold
    }

    /// What is ripe and stands for itself, and what is found in each group.
    fn crowds(
        &self,
        single: &[&'a Alert],
        groups: &[&'a Alert],
    ) -> (Vec<&'a Found>, BTreeMap<&'a str, Crowd<'a>>) {
        let open: BTreeMap<&Subject, &'a Alert> =
            single.iter().map(|alert| (&alert.subject, *alert)).collect();
        let has_own = |node: NodeId| open.contains_key(&Subject::Node(node));
        let (mut things, mut crowds) = (Vec::new(), BTreeMap::<&'a str, Crowd<'a>>::new());
        for group in groups {
            if let Subject::Group(value) = &group.subject {
                crowds.entry(value).or_default();
            }
        }
        for found in &self.signs.found {
            let is_ripe = self.is_ripe(found);
            match (open.get(&found.subject), &found.subject) {
                (None, Subject::Node(_)) if is_ripe => {
                    crowds.entry(&found.group).or_default().ripe.push(found);
                }
                (None, Subject::Node(_)) => crowds.entry(&found.group).or_default().near += 1,
                (None, _) if is_ripe => things.push(found),
                (Some(alert), Subject::Node(_))
                    if self.now.since(alert.opened_at) <= self.rule.damping.within =>
                {
                    crowds.entry(&found.group).or_default().recent.push(*alert);
                }
                _ => {}
            }
        }
        for (_, group) in self.signs.near.iter().filter(|(node, _)| !has_own(*node)) {
            crowds.entry(group).or_default().near += 1;
        }
        let named: BTreeSet<NodeId> = groups.iter().flat_map(|alert| &alert.nodes).copied().collect();
        let was_so = |node: NodeId| named.contains(&node) || self.memory.knows(node);
        for (node, group) in self.signs.unknown.iter().filter(|(node, _)| !has_own(*node) && was_so(*node)) {
            crowds.entry(group).or_default().held.push(*node);
        }
        (things, crowds)
    }

    /// What becomes of the alert of a group, and whether those of its nodes that have none get their own.
    fn turn_group(
        &self,
        group: &str,
        crowd: &Crowd<'_>,
        own: Option<&Alert>,
        id: &mut impl FnMut() -> AlertId,
    ) -> (Vec<Alert>, bool) {
        let threshold = self.rule.damping.threshold(self.signs.totals.get(group).copied().unwrap_or(0));
        let size = crowd.ripe.len() + crowd.near;
        match (own, threshold) {
            // Half of what makes one: who is just at it does not come and go.
            (Some(own), Some(threshold)) if (size + crowd.held.len()) * 2 >= threshold => {
                // One that had its own, and of which nobody could say when they became many, is one of them now.
                let ended = crowd.recent.iter().map(|alert| alert.ended("Grouped", self.now));
                let after = counted(own, crowd);
                (ended.chain((after != *own).then_some(after)).collect(), false)
            }
            (Some(own), _) => (vec![own.ended("MostAreBack", self.now)], true),
            (None, Some(threshold)) if !crowd.ripe.is_empty() && size + crowd.recent.len() >= threshold => {
                let ended = crowd.recent.iter().map(|alert| alert.ended("Grouped", self.now));
                (ended.chain([self.many(group, crowd, id())]).collect(), false)
            }
            (None, _) => (Vec::new(), true),
        }
    }

    fn one(&self, found: &Found, id: AlertId) -> Alert {
        let (subject, labels) = (found.subject.clone(), found.labels.clone());
        let (reason, message) = (found.reason.clone(), found.message.clone());
        Alert {
            labels,
            reason,
            message,
            ..self.rule.begun(id, subject, self.memory.since(found, self.now), self.now)
        }
    }

    fn many(&self, group: &str, crowd: &Crowd<'_>, id: AlertId) -> Alert {
        let since = crowd.ripe.iter().map(|found| self.memory.since(found, self.now)).min();
        let begun =
            self.rule.begun(id, Subject::Group(group.to_owned()), since.unwrap_or(self.now), self.now);
        let alert = counted(&Alert { reason: "ManyNodes".to_owned(), ..begun }, crowd);
        Alert { message: format!("many nodes {}", self.rule.kind.of_many()), ..alert }
    }
}

impl Rule {
    /// An alert of this rule that begins, and of which nobody was told yet.
    #[must_use]
    pub fn begun(&self, id: AlertId, subject: Subject, since: UnixMillis, now: UnixMillis) -> Alert {
        Alert {
            id,
            rule: self.name.clone(),
            kind: self.kind,
            severity: self.severity,
            subject,
            labels: Labels::new(),
            reason: String::new(),
            message: String::new(),
            since,
            opened_at: now,
            ended_at: None,
            end_reason: String::new(),
            count: 1,
            nodes: Vec::new(),
            cause: None,
            acknowledged: None,
            silence: None,
            told: false,
            receivers: Vec::new(),
            is_test: false,
            revision: 0,
        }
    }
}

impl Memory {
    fn look(&mut self, signs: &Signs, hold: Duration, now: UnixMillis) {
        let mut before = std::mem::take(&mut self.0);
        for found in &signs.found {
            let since = found.since.unwrap_or(now).min(now);
            let known = match before.remove(&found.subject) {
                Some(known) if known.mark == found.mark => Known { since: known.since.min(since), ..known },
                other => Known { mark: found.mark.clone(), since, moved: other.is_some() },
            };
            self.0.insert(found.subject.clone(), known);
        }
        // What was so for long enough is taken to be so until somebody can say; all else begins anew.
        for (node, _) in &signs.unknown {
            let known = before.remove_entry(&Subject::Node(*node));
            self.0.extend(known.filter(|(_, known)| now.since(known.since) >= hold));
        }
    }

    fn knows(&self, node: NodeId) -> bool {
        self.0.contains_key(&Subject::Node(node))
    }

    fn since(&self, found: &Found, now: UnixMillis) -> UnixMillis {
        self.0.get(&found.subject).map_or(now, |known| known.since)
    }

    fn has_moved(&self, found: &Found) -> bool {
        self.0.get(&found.subject).is_some_and(|known| known.moved)
    }
}

/// With the nodes that it counts now.
fn counted(alert: &Alert, crowd: &Crowd<'_>) -> Alert {
    let of_found = crowd.ripe.iter().map(|found| &found.subject);
    let subjects = of_found.chain(crowd.recent.iter().map(|alert| &alert.subject));
    let mut nodes: Vec<NodeId> = subjects
        .filter_map(|subject| match subject {
            Subject::Node(node) => Some(*node),
            _ => None,
        })
        .collect();
    nodes.extend(&crowd.held);
    nodes.sort_unstable();
    let count = nodes.len() as u64;
    nodes.truncate(SHOWN_MEMBERS);
    Alert { count, nodes, ..alert.clone() }
}
