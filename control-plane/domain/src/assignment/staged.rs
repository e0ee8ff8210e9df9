//! An assignment in the middle of a change: some of its nodes get something else.
//!
//! A node that a rollout has touched has a [`Touch`]: what it gets, and what it had
//! before. All others get what the assignment gives. A rollout that goes back turns all
//! its touches round at once, by one word in its assignment; one that succeeded makes what
//! it brought the assignment's own, and every touch from before is void.

use muster_common::{clock::UnixMillis, ids::RolloutId};
use serde::{Deserialize, Serialize};

use super::{Assignment, Target};
use crate::item::ItemName;

/// What rollouts have made of an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Staged {
    /// It gives nothing but to nodes that a rollout has touched.
    pub held: bool,
    /// The rollout that is under way.
    pub rollout: Option<RolloutId>,
    /// Rollouts that went back: who they touched gets what it had before.
    pub gone_back: Vec<RolloutId>,
    /// Rollouts that were aborted: who they touched keeps what it got.
    pub aborted: Vec<RolloutId>,
    /// What touches may give.
    pub variants: Vec<Target>,
    /// Touches up to this revision are void.
    pub void_until: u64,
}

/// What a rollout has given to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// Whose node it is by.
    pub assignment: String,
    /// The rollout that did it last.
    pub rollout: RolloutId,
    /// Which item.
    pub item: ItemName,
    /// What it gets. `None`: it is taken from it.
    pub gives: Option<Target>,
    /// What it got before.
    pub before: Option<Target>,
    /// When.
    pub at: UnixMillis,
    /// Revision of the write; part of the generation of what it gives.
    #[serde(skip)]
    pub revision: u64,
}

impl Assignment {
    /// What nodes get that no rollout has touched.
    #[must_use]
    pub const fn base(&self) -> Option<&Target> {
        if self.staged.held { None } else { Some(&self.target) }
    }

    /// What a node gets.
    #[must_use]
    pub fn target_for<'a>(&'a self, touches: &'a [Touch]) -> Option<&'a Target> {
        match self.touch_of(touches) {
            Some(touch) if self.staged.gone_back.contains(&touch.rollout) => touch.before.as_ref(),
            Some(touch) => touch.gives.as_ref(),
            None => self.base(),
        }
    }

    /// What a rollout has given to a node, if that still counts.
    #[must_use]
    pub fn touch_of<'a>(&self, touches: &'a [Touch]) -> Option<&'a Touch> {
        let ours = |touch: &&Touch| touch.assignment == self.name && touch.revision > self.staged.void_until;
        touches.iter().find(ours)
    }

    /// All that it may give to some node.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.base().into_iter().chain(&self.staged.variants)
    }

    /// A rollout to this begins.
    #[must_use]
    pub fn begun(&self, rollout: RolloutId, to: Option<&Target>) -> Self {
        let mut next = self.clone();
        next.staged.rollout = Some(rollout);
        if let Some(to) = to.filter(|to| !next.targets().any(|known| known == *to)) {
            next.staged.variants.push(to.clone());
        }
        next
    }

    /// Its rollout goes back: who was touched gets what it had before.
    #[must_use]
    pub fn going_back(&self, rollout: RolloutId) -> Self {
        let mut next = self.clone();
        next.staged.aborted.retain(|aborted| *aborted != rollout);
        if !next.staged.gone_back.contains(&rollout) {
            next.staged.gone_back.push(rollout);
        }
        next.staged.rollout = Some(rollout);
        next
    }

    /// Its rollout has gone back. Where no other one was aborted, nothing is left of it.
    #[must_use]
    pub fn gone_back(&self, revision: u64) -> Self {
        if !self.staged.aborted.is_empty() {
            return Self { staged: Staged { rollout: None, ..self.staged.clone() }, ..self.clone() };
        }
        let target = self.base().cloned();
        self.given(target, revision)
    }

    /// Its rollout was aborted: who was touched keeps what it got.
    #[must_use]
    pub fn aborted(&self, rollout: RolloutId) -> Self {
        let mut next = self.clone();
        next.staged.rollout = None;
        next.staged.aborted.push(rollout);
        next
    }

    /// All its nodes get this, or nothing. The number is that of the write.
    #[must_use]
    pub fn given(&self, target: Option<Target>, revision: u64) -> Self {
        let staged = Staged { held: target.is_none(), void_until: revision, ..Staged::default() };
        Self { target: target.unwrap_or_else(|| self.target.clone()), staged, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u64) -> Target {
        Target::Bundle { name: "web".to_owned(), version }
    }

    fn assignment() -> Assignment {
        Assignment {
            name: "web".to_owned(),
            selector: "*".to_owned(),
            exclusions: Vec::new(),
            scope: "*".to_owned(),
            target: version(1),
            staged: Staged::default(),
            priority: 0,
            created_at: UnixMillis(0),
            updated_at: UnixMillis(0),
            updated_by: String::new(),
            revision: 1,
        }
    }

    fn touch(on: &Assignment, before: &[Touch], rollout: RolloutId, to: u64, revision: u64) -> Touch {
        Touch {
            assignment: on.name.clone(),
            rollout,
            item: on.target.item(),
            gives: Some(version(to)),
            before: on.target_for(before).cloned(),
            at: UnixMillis(0),
            revision,
        }
    }

    fn gets(assignment: &Assignment, touches: &[Touch]) -> Option<u64> {
        match assignment.target_for(touches) {
            Some(Target::Bundle { version, .. }) => Some(*version),
            _ => None,
        }
    }

    #[test]
    fn only_touched_nodes_get_what_a_rollout_brings_until_it_succeeds() {
        let id = RolloutId::from_u128(1);
        let begun = assignment().begun(id, Some(&version(2)));
        let touched = [touch(&begun, &[], id, 2, 5)];
        assert_eq!((gets(&begun, &touched), gets(&begun, &[])), (Some(2), Some(1)));
        assert_eq!(begun.targets().collect::<Vec<_>>(), [&version(1), &version(2)]);
        let done = begun.given(Some(version(2)), 9);
        assert_eq!((gets(&done, &touched), gets(&done, &[])), (Some(2), Some(2)));
        let later = done.given(Some(version(3)), 12);
        assert_eq!(gets(&later, &touched), Some(3), "what was brought before is void");
    }

    #[test]
    fn a_rollout_that_goes_back_turns_all_its_touches_round() {
        let id = RolloutId::from_u128(1);
        let begun = assignment().begun(id, Some(&version(2)));
        let touched = [touch(&begun, &[], id, 2, 5)];
        let back = begun.going_back(id);
        assert_eq!(gets(&back, &touched), Some(1));
        let over = back.gone_back(9);
        assert_eq!((gets(&over, &touched), over.staged.variants.len()), (Some(1), 0));
        let over = begun.aborted(id).going_back(id).gone_back(9);
        assert_eq!((gets(&over, &touched), over.touch_of(&touched)), (Some(1), None));
    }

    #[test]
    fn after_an_aborted_rollout_each_node_returns_to_what_it_had() {
        let (first, second) = (RolloutId::from_u128(1), RolloutId::from_u128(2));
        let begun = assignment().begun(first, Some(&version(2)));
        let one = [touch(&begun, &[], first, 2, 5)];
        let split = begun.aborted(first);
        assert_eq!((gets(&split, &one), gets(&split, &[])), (Some(2), Some(1)));
        let begun = split.begun(second, Some(&version(3)));
        let touched = [touch(&begun, &one, second, 3, 7)];
        let back = begun.going_back(second).gone_back(9);
        assert_eq!(gets(&back, &touched), Some(2), "it had the second version");
        assert_eq!((gets(&back, &one), gets(&back, &[])), (Some(2), Some(1)));
    }

    #[test]
    fn a_held_assignment_gives_nothing_to_who_was_not_touched() {
        let id = RolloutId::from_u128(1);
        let mut held = assignment();
        held.staged.held = true;
        let begun = held.begun(id, Some(&version(1)));
        let touched = [touch(&begun, &[], id, 1, 5)];
        assert_eq!((gets(&begun, &touched), gets(&begun, &[])), (Some(1), None));
        assert_eq!(gets(&begun.going_back(id), &touched), None);
        assert_eq!(gets(&begun.going_back(id).gone_back(9), &touched), None);
        assert_eq!(gets(&begun.given(Some(version(1)), 9), &[]), Some(1));
    }
}
