//! What is seen of a rollout at one moment.

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    generation::Generation,
    ids::{NodeId, RolloutId},
};

use crate::{effective::REMOVAL, item::ItemState};

/// A node that the assignment reaches, or that the rollout has touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub node: NodeId,
    /// Its place in the order; see [`order_of`].
    pub order: u64,
    /// Whether it is heard.
    pub presence: Presence,
    /// Whether it may be touched now, by its windows.
    pub is_open: bool,
    /// Whether the selector of the present step matches it; `true` where the step has none.
    pub is_selected: bool,
    /// Its group of the budget; 0 where there is none.
    pub group: u32,
    /// What it has made of the change.
    pub standing: Standing,
}

/// Whether a node is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Here,
    /// It is not, and said so, or never was: it was stopped, or nobody has heard it yet.
    Away,
    /// It fell silent.
    Lost {
        /// Since when.
        since: UnixMillis,
    },
}

/// What a node has made of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was not given it.
    Untouched,
    /// It was, and has not said what became of it.
    Given {
        /// Since when.
        since: UnixMillis,
    },
    /// It has what it was given.
    Done,
    /// It has refused it, for what the change is or for what the host is, or has it and it is
    /// not well.
    Failed,
    /// It does not take part: its own lock forbids it, its host's administrator lets changes
    /// rest, or its agent does not know the kind.
    Excused,
}

/// What a host has said of what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Nothing yet, or that it is on its way.
    None,
    /// It has it, and as far as it says it is well.
    There,
    /// It has it, and it is not well.
    Unhealthy,
    /// It has refused just this.
    Refused(&'a ItemState),
}

/// What a host has said of a content at a generation; of [`REMOVAL`]: of the end of the item.
/// What is only on its way has not passed, whatever runs meanwhile.
#[must_use]
pub fn answer(reported: Option<&ItemState>, sha256: Sha256, generation: Generation) -> Answer<'_> {
    let running = reported.and_then(|state| state.running.as_ref());
    let is_there = match sha256 {
        REMOVAL => running.is_none(),
        _ => running.is_some_and(|running| running.sha256 == sha256),
    };
    match reported {
        Some(state) if state.has_refused(sha256, generation) => Answer::Refused(state),
        Some(state) if state.is_in_flight(sha256, generation) => Answer::None,
        Some(state) if is_there && sha256 != REMOVAL && state.is_unhealthy() => Answer::Unhealthy,
        _ if is_there => Answer::There,
        _ => Answer::None,
    }
}

/// What is seen of a rollout at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<'a> {
    /// Who takes part.
    pub members: &'a [Member],
    /// What holds for all rollouts.
    pub weather: Weather,
    /// Now.
    pub now: UnixMillis,
}

/// What holds for all rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// A person pulled the brake.
    pub brake: bool,
    /// So many nodes vanished together: the network, not the change.
    pub vanished: u32,
}

/// A node's place in the order of a rollout: another one in each.
#[must_use]
pub fn order_of(rollout: RolloutId, node: NodeId) -> u64 {
    let digest = Sha256::of(format!("{rollout}/{node}").as_bytes());
    digest.as_bytes().iter().take(8).fold(0, |order, byte| order << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use muster_common::generation::Generation;

    use super::*;
    use crate::item::{Health, ItemName, ItemVersion, Outcome, Progress};

    const NOW: UnixMillis = UnixMillis(7);

    fn version(bytes: &[u8], number: u64) -> ItemVersion {
        let generation = Generation::new(1, number);
        ItemVersion { generation, version: String::new(), sha256: Sha256::of(bytes) }
    }

    fn state(running: Option<&[u8]>, outcome: Option<Outcome>) -> ItemState {
        ItemState {
            item: ItemName::Extension("x".to_owned()),
            running: running.map(|bytes| version(bytes, 2)),
            attempted: Some(version(b"new", 2)),
            outcome,
            error: None,
            changed_at: NOW,
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    fn health(healthy: bool) -> Option<Health> {
        Some(Health { healthy, message: String::new(), since: NOW })
    }

    #[test]
    fn what_runs_has_passed_only_with_an_outcome_and_in_health() {
        let new = Sha256::of(b"new");
        let said = |state: &ItemState| answer(Some(state), new, Generation::new(1, 2)).word();
        let there = state(Some(b"new"), Some(Outcome::Applied));
        assert_eq!(said(&there), "there");
        assert_eq!(said(&ItemState { health: health(true), ..there.clone() }), "there");
        assert_eq!(said(&ItemState { health: health(false), ..there.clone() }), "unhealthy");
        // The old one is ill: that is not the change.
        let old = state(Some(b"old"), Some(Outcome::Applied));
        assert_eq!(said(&ItemState { health: health(false), ..old }), "none");
        let progress =
            Some(Progress { step: "probation".to_owned(), percent: 9, since: NOW, message: String::new() });
        let on_trial = ItemState { outcome: None, progress, ..there };
        assert_eq!(said(&on_trial), "none", "it runs, and may still go back");
        assert_eq!(said(&state(Some(b"old"), Some(Outcome::RolledBack))), "refused");
        assert_eq!(answer(None, new, Generation::new(1, 2)), Answer::None);
        assert_eq!(answer(None, REMOVAL, Generation::new(1, 2)), Answer::There);
    }

    impl Answer<'_> {
        fn word(self) -> &'static str {
            match self {
                Self::None => "none",
                Self::There => "there",
                Self::Unhealthy => "unhealthy",
                Self::Refused(_) => "refused",
            }
        }
    }
}
