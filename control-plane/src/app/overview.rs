//! The fleet in numbers: how many nodes there are of each kind.

use std::collections::BTreeMap;

use muster_domain::{access::Scope, liveness::State};
use parking_lot::MutexGuard;

use super::{App, fleet::Entry};

/// Kinds that are told apart; nodes of further ones are counted together.
const MOST_KINDS: usize = 1000;

/// How many nodes of a scope there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// In all.
    pub total: usize,
    /// In each state that one is in.
    pub states: BTreeMap<State, usize>,
    /// With each release of the agent; empty: it has not said.
    pub versions: Counts,
    /// With each value of the label that was asked for.
    pub labelled: Counts,
    /// Without that label.
    pub unlabelled: usize,
}

/// How many there are of each kind, the most first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Each kind.
    pub kinds: Vec<(String, usize)>,
    /// Of kinds that were too many to be told apart.
    pub others: usize,
}

#[derive(Default)]
struct Counting {
    kinds: BTreeMap<String, usize>,
    others: usize,
}

impl Counting {
    fn count(&mut self, kind: &str) {
        if let Some(count) = self.kinds.get_mut(kind) {
            *count += 1;
        } else if self.kinds.len() < MOST_KINDS {
            self.kinds.insert(kind.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    fn counted(self) -> Counts {
        let mut kinds: Vec<(String, usize)> = self.kinds.into_iter().collect();
        // Stable: those with the same count stay in order of their names.
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Counts { kinds, others: self.others }
    }
}

impl App {
    /// The nodes of a scope in numbers, and by the values of a label.
    pub async fn overview(&self, scope: &Scope, label: &str) -> Overview {
        let mut overview = Overview::default();
        let (mut versions, mut labelled) = (Counting::default(), Counting::default());
        let count = |entry: MutexGuard<'_, Entry>| {
            let node = &entry.node;
            if !scope.sees(node) {
                return;
            }
            overview.total += 1;
            *overview.states.entry(node.liveness.state).or_default() += 1;
            versions.count(node.facts.agent_version());
            match node.labels.get(label) {
                Some(value) => labelled.count(value),
                None => overview.unlabelled += 1,
            }
        };
        self.fleet.visit(count).await;
        Overview { versions: versions.counted(), labelled: labelled.counted(), ..overview }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_come_first_and_too_many_kinds_are_counted_together() {
        let mut counting = Counting::default();
        for kind in ["b", "a", "c", "c"] {
            counting.count(kind);
        }
        let of = |kind: &str, count| (kind.to_owned(), count);
        let counted = counting.counted();
        assert_eq!((counted.kinds, counted.others), (vec![of("c", 2), of("a", 1), of("b", 1)], 0));
        let mut many = Counting::default();
        (0..MOST_KINDS + 7).for_each(|number| many.count(&number.to_string()));
        many.count("0");
        let counted = many.counted();
        assert_eq!((counted.kinds.len(), counted.others), (MOST_KINDS, 7));
        assert_eq!(counted.kinds[0], of("0", 2), "a kind that is known goes on");
    }
}
