//! From assignments to what one node should have. All of it is a function of
//! labels, facts, assignments and the contents they name: any replica comes to
//! the same answer, and to the same bytes.

use std::{cmp::Reverse, collections::BTreeMap};

use muster_common::{digest::Sha256, generation::Generation, ids::NodeId};

use crate::{
    access::Reach,
    assignment::{Assignment, Target, Touch},
    facts::Known,
    item::{ItemName, ItemState, ItemVersion},
    labels::{Groups, Labels, Selector, Unusable, Written},
    settings::Values,
};

mod index;

pub use index::Index;

/// How many nodes a conflict names.
const NAMED_NODES: usize = 5;

/// What a host says it attempted when it tried to take an item away.
pub const REMOVAL: Sha256 = Sha256::ZERO;

/// An assignment with its selectors parsed, and the groups in them resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// As stored.
    pub assignment: Assignment,
    /// Its selector.
    pub selector: Selector,
    /// Its exclusions, in their order.
    pub exclusions: Vec<Selector>,
    /// What its maker may deploy to.
    pub scope: Reach,
}

impl Compiled {
    /// Parses the assignment's selectors and scope, as they are with these groups.
    ///
    /// # Errors
    /// When one does not parse, or names a group that is not there; one that was stored
    /// always does.
    pub fn new(assignment: Assignment, groups: &Groups) -> Result<Self, Unusable> {
        let read = |text: &String| Ok::<_, Unusable>(Written::parse(text)?.resolve(groups)?);
        let selector = read(&assignment.selector)?;
        let exclusions = assignment.exclusions.iter().map(read).collect::<Result<_, _>>()?;
        let scope = assignment.scope.parse()?;
        Ok(Self { assignment, selector, exclusions, scope })
    }

    /// Whether a node with these gets the item.
    #[must_use]
    pub fn reaches(&self, labels: &Labels, facts: &Known) -> bool {
        self.selector.matches(labels, facts)
            && self.scope.matches(labels, facts)
            && self.excluded_by(labels, facts).is_none()
    }

    /// The exclusion that keeps it from a node with these.
    #[must_use]
    pub fn excluded_by(&self, labels: &Labels, facts: &Known) -> Option<&Selector> {
        self.exclusions.iter().find(|exclusion| exclusion.matches(labels, facts))
    }
}

/// An assignment that gives something to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Giving<'a> {
    /// Which.
    pub by: &'a Compiled,
    /// What it gives to this node.
    pub target: &'a Target,
}

/// The assignments that give something to a node, by item, the strongest first: higher
/// priority, then name. The first of an item wins; the settings merge all (see
/// `merge_settings`). `touches`: what rollouts have given to this node.
#[must_use]
pub fn winners<'a>(
    labels: &Labels,
    facts: &Known,
    touches: &'a [Touch],
    assignments: impl IntoIterator<Item = &'a Compiled>,
) -> BTreeMap<ItemName, Vec<Giving<'a>>> {
    let mut by_item: BTreeMap<ItemName, Vec<Giving<'_>>> = BTreeMap::new();
    for giving in candidates(labels, facts, touches, assignments.into_iter()) {
        by_item.entry(giving.target.item()).or_default().push(giving);
    }
    by_item
}

/// Those of some assignments that give something to a node, the strongest first.
#[must_use]
pub fn candidates<'a>(
    labels: &Labels,
    facts: &Known,
    touches: &'a [Touch],
    assignments: impl Iterator<Item = &'a Compiled>,
) -> Vec<Giving<'a>> {
    let reaching = assignments.filter(|compiled| compiled.reaches(labels, facts));
    let giving = reaching.filter_map(|by| Some(Giving { by, target: by.assignment.target_for(touches)? }));
    let mut giving: Vec<Giving<'_>> = giving.collect();
    // Equal priorities are refused when assignments are made, but labels can
    // change later: the name breaks the tie, everywhere the same way.
    giving.sort_by(|a, b| strength(a.by).cmp(&strength(b.by)));
    giving
}

fn strength(compiled: &Compiled) -> (Reverse<i32>, &str) {
    (Reverse(compiled.assignment.priority), &compiled.assignment.name)
}

/// An option as it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided<'a, S> {
    /// Its value.
    pub value: &'a str,
    /// By what.
    pub by: S,
}

/// One set of options out of several profiles, the strongest first: for each
/// key, the first profile that has it decides.
#[must_use]
pub fn merge_settings<'a, S: Copy>(
    profiles: impl IntoIterator<Item = (S, &'a Values)>,
) -> BTreeMap<&'a str, Decided<'a, S>> {
    let mut merged = BTreeMap::new();
    for (by, values) in profiles {
        for (key, value) in values {
            merged.entry(key.as_str()).or_insert(Decided { value: value.as_str(), by });
        }
    }
    merged
}

/// The payload of the item `settings`: a JSON object of strings, keys sorted by
/// their bytes, without spaces. These bytes are hashed and sent.
#[must_use]
pub fn settings_payload<S>(settings: &BTreeMap<&str, Decided<'_, S>>) -> Vec<u8> {
    let settings: BTreeMap<&str, &str> = settings.iter().map(|(key, it)| (*key, it.value)).collect();
    serde_json::to_vec(&settings).expect("a map of strings always has a JSON form")
}

/// The generation of an item on one node: the newest of all that made it so.
/// `item_mark` is the newest revision of the assignments that reach the node
/// and of the contents they name (and of any that ceased to),
/// `selector_revision` that of the node's labels and facts, `touches` what rollouts
/// have given to it.
#[must_use]
pub fn generation(
    epoch: u64,
    item: &ItemName,
    item_mark: u64,
    selector_revision: u64,
    touches: &[Touch],
) -> Generation {
    let touched = touches.iter().filter(|touch| touch.item == *item).map(|touch| touch.revision).max();
    Generation::new(epoch, item_mark.max(selector_revision).max(touched.unwrap_or(0)))
}

/// Whether a node must be sent this version: it does not run these bytes, and
/// has not settled on refusing them at this generation. Only bytes count, and of a release its
/// number: equal content under a newer generation changes nothing on a host. A host that goes on
/// trying something else must hear that this is no longer wanted.
#[must_use]
pub fn should_offer(desired: &ItemVersion, reported: Option<&ItemState>) -> bool {
    let Some(reported) = reported else { return true };
    let is_other = |attempted: &ItemVersion| !reported.item.is_same(attempted, desired);
    let tries_another = reported.is_retried() && reported.attempted.as_ref().is_some_and(is_other);
    !(reported.has(desired) && !tries_another || reported.has_settled_against(desired))
}

/// Whether a node must be told at this generation to take away an item that
/// nothing assigns to it: it runs it or goes on trying to, and has not settled on
/// refusing just that.
#[must_use]
pub fn should_remove(reported: &ItemState, generation: Generation) -> bool {
    let there = reported.running.is_some() || reported.is_retried();
    there && !reported.has_settled_against(&ItemVersion::removal(generation))
}

/// Two assignments want different things of one node and neither is stronger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "assignment {other:?} gives {item} with the same priority to {total} of the same nodes ({})",
    list(nodes)
)]
pub struct Conflict {
    /// Name of the other assignment.
    pub other: String,
    /// What both give.
    pub item: ItemName,
    /// Some of the nodes that both reach.
    pub nodes: Vec<NodeId>,
    /// How many both reach.
    pub total: usize,
    /// Option keys with different values; empty for a bundle.
    pub keys: Vec<String>,
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

/// Looks for an assignment that contradicts `new` on some node: same item, same
/// priority, another version of the same thing or another value of an option.
/// `others` may hold the old self of `new`, which is passed over. `profile`
/// answers the values of a version of a settings profile; one it does not know has none.
/// The first in the order of names is told.
#[must_use]
pub fn conflict<'n, 'p>(
    new: &Compiled,
    others: &[Compiled],
    nodes: impl Iterator<Item = (NodeId, &'n Labels, &'n Known)>,
    profile: impl Fn(&str, u64) -> Option<&'p Values>,
) -> Option<Conflict> {
    let mut found: Vec<Conflict> = Vec::new();
    let mut rivals = Vec::new();
    for other in others {
        if let Some(keys) = contradicts(&new.assignment, &other.assignment, &profile) {
            let (name, item) = (other.assignment.name.clone(), new.assignment.target.item());
            found.push(Conflict { other: name, item, nodes: Vec::new(), total: 0, keys });
            rivals.push(other);
        }
    }
    if rivals.is_empty() {
        return None; // the usual case: not one node has to be looked at
    }
    for (id, labels, facts) in nodes.filter(|(_, labels, facts)| new.reaches(labels, facts)) {
        for (rival, conflict) in rivals.iter().zip(&mut found) {
            if rival.reaches(labels, facts) {
                conflict.total += 1;
                if conflict.nodes.len() < NAMED_NODES {
                    conflict.nodes.push(id);
                }
            }
        }
    }
    found.into_iter().filter(|conflict| conflict.total > 0).min_by(|a, b| a.other.cmp(&b.other))
}

/// Whether two assignments could not both hold on one node; the keys at odds,
/// none for a bundle.
fn contradicts<'p>(
    new: &Assignment,
    other: &Assignment,
    profile: &impl Fn(&str, u64) -> Option<&'p Values>,
) -> Option<Vec<String>> {
    if new.name == other.name || new.priority != other.priority {
        return None;
    }
    // Whatever a rollout has given or may give counts, too.
    let pairs = new.targets().flat_map(|a| other.targets().map(move |b| (a, b)));
    pairs.filter_map(|(a, b)| targets_at_odds(a, b, profile)).next()
}

fn targets_at_odds<'p>(
    a: &Target,
    b: &Target,
    profile: &impl Fn(&str, u64) -> Option<&'p Values>,
) -> Option<Vec<String>> {
    match (a, b) {
        (Target::Bundle { name: a, version: v }, Target::Bundle { name: b, version: w })
        | (Target::Extension { name: a, version: v }, Target::Extension { name: b, version: w }) => {
            (a == b && v != w).then(Vec::new)
        }
        (Target::Release { version: v }, Target::Release { version: w }) => (v != w).then(Vec::new),
        (Target::Settings { profile: a, version: v }, Target::Settings { profile: b, version: w }) => {
            let keys = keys_at_odds(profile(a, *v)?, profile(b, *w)?);
            (!keys.is_empty()).then_some(keys)
        }
        // Of other items each.
        (
            Target::Bundle { .. }
            | Target::Settings { .. }
            | Target::Extension { .. }
            | Target::Release { .. },
            Target::Bundle { .. }
            | Target::Settings { .. }
            | Target::Extension { .. }
            | Target::Release { .. },
        ) => None,
    }
}

/// Keys that two versions of profiles both have with different values.
fn keys_at_odds(a: &Values, b: &Values) -> Vec<String> {
    let at_odds = a.iter().filter(|(key, value)| b.get(*key).is_some_and(|other| other != *value));
    at_odds.map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests;
