//! How long nodes take to answer a change of what they should have.
//!
//! A change begins when this process takes it in from the feed, some milliseconds after its
//! commit, and a node has answered it when it says for the first time what became of a version of
//! that revision: that it has it, or why it has not. A step of a rollout is a change for the nodes
//! that it touches.

use std::{collections::VecDeque, time::Duration};

use muster_common::clock::Instant;
use muster_domain::item::{ItemState, Outcome};
use parking_lot::Mutex;

use super::{App, fleet::Entry};
use crate::metrics::CHANGES_SHOWN;

/// Changes whose nodes are still waited for. Nodes that are made or edited are in it, too: what
/// they should have may be another for that.
const KEPT: usize = 1024;

/// The changes of the last time, in their order.
#[derive(Debug, Default)]
pub(super) struct Convergence(Mutex<VecDeque<Change>>);

/// What was taken in at once.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// Revisions after this one,
    after: u64,
    /// and up to this one.
    to: u64,
    at: Instant,
    slowest: Duration,
    nodes: u64,
}

impl Convergence {
    /// Revisions after one and up to another may change what nodes should have.
    pub(super) fn begins(&self, after: u64, to: u64, at: Instant) {
        let mut changes = self.0.lock();
        if changes.back().is_some_and(|last| last.to >= to) {
            return; // tried once more after a failure: it began then
        }
        if changes.len() == KEPT {
            changes.pop_front();
        }
        changes.push_back(Change { after, to, at, slowest: Duration::ZERO, nodes: 0 });
    }

    /// A node has answered a version of this revision. Since when it was on its way; `None`: from
    /// before this process knows of changes.
    fn answered(&self, revision: u64, now: Instant) -> Option<Duration> {
        let mut changes = self.0.lock();
        let place = changes.partition_point(|change| change.to < revision);
        let change = changes.get_mut(place).filter(|change| change.after < revision)?;
        let took = now.saturating_duration_since(change.at);
        change.slowest = change.slowest.max(took);
        change.nodes += 1;
        Some(took)
    }

    /// The newest changes that nodes have answered: the slowest node of each, and how many have.
    fn newest(&self) -> Vec<(Duration, u64)> {
        let changes = self.0.lock();
        let answered = changes.iter().rev().filter(|change| change.nodes > 0);
        answered.take(CHANGES_SHOWN.len()).map(|change| (change.slowest, change.nodes)).collect()
    }
}

/// What a node says for the first time of versions: their revision, and what became of them.
pub(super) fn answers(entry: &Entry, states: &[ItemState], epoch: u64) -> Vec<(u64, Outcome)> {
    let answer = |state: &ItemState| {
        let (attempted, outcome) = (state.attempted.as_ref()?, state.outcome?);
        let is_told = |known: &ItemState| {
            let before = known.attempted.as_ref().filter(|_| known.outcome.is_some());
            before.is_some_and(|before| before.generation >= attempted.generation)
        };
        let is_ours = attempted.generation.epoch == epoch;
        let is_new = is_ours && !entry.reported(&state.item).is_some_and(is_told);
        is_new.then_some((attempted.generation.number, outcome))
    };
    states.iter().filter_map(answer).collect()
}

impl App {
    /// Counts what a node has answered.
    pub(super) fn converged(&self, answers: &[(u64, Outcome)]) {
        let now = self.clock.monotonic();
        for (revision, outcome) in answers {
            if let Some(took) = self.feed.convergence.answered(*revision, now) {
                self.metrics.converged(word(*outcome), took);
            }
        }
    }

    /// Shows the newest changes one by one.
    pub(super) fn show_changes(&self) {
        for (change, (slowest, nodes)) in CHANGES_SHOWN.into_iter().zip(self.feed.convergence.newest()) {
            self.metrics.change(change, slowest, nodes);
        }
    }
}

/// An outcome in one word, for metrics.
const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Unchanged => "unchanged",
        Outcome::RolledBack => "rolled-back",
        Outcome::Rejected => "rejected",
        Outcome::Broken => "broken",
        Outcome::Removed => "removed",
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_belongs_to_the_change_that_has_its_revision() {
        let (changes, start) = (Convergence::default(), Clock::System.monotonic());
        changes.begins(4, 6, start);
        changes.begins(9, 10, start + SECOND);
        changes.begins(9, 10, start + SECOND * 9);
        let answered = |revision, after| changes.answered(revision, start + SECOND * after);
        assert_eq!(answered(4, 2), None, "from before");
        assert_eq!((answered(5, 2), answered(6, 3)), (Some(SECOND * 2), Some(SECOND * 3)));
        assert_eq!(answered(7, 3), None, "what nodes should have was not changed by it");
        assert_eq!(answered(10, 2), Some(SECOND));
        assert_eq!(answered(11, 2), None, "not here yet");
        assert_eq!(changes.newest(), [(SECOND, 1), (SECOND * 3, 2)]);
    }

    #[test]
    fn old_changes_make_room_for_new_ones() {
        let (changes, start) = (Convergence::default(), Clock::System.monotonic());
        for number in 0..=KEPT as u64 {
            changes.begins(number, number + 1, start);
        }
        assert_eq!(changes.0.lock().len(), KEPT);
        assert_eq!(changes.answered(1, start), None);
        for number in 2..12 {
            assert!(changes.answered(number, start).is_some());
        }
        assert_eq!(changes.newest().len(), CHANGES_SHOWN.len());
    }
}
