//! What is seen of a rollout at one moment.

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{NodeId, RolloutId},
};

use crate::item::{ItemState, ItemVersion};

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

/// What a host has said of what it should have, or of the end of that.
/// What is only on its way has not passed, whatever runs meanwhile; nor has a host returned that is
/// still on its way to something else.
#[must_use]
pub fn answer<'a>(reported: Option<&'a ItemState>, wanted: &ItemVersion) -> Answer<'a> {
    let is_there = reported.map_or(wanted.is_removal(), |state| state.has(wanted));
    match reported {
        Some(state) if state.has_refused(wanted) => Answer::Refused(state),
        Some(state) if state.is_under_way() => Answer::None,
        Some(state) if is_there && !wanted.is_removal() && state.is_unhealthy() => Answer::Unhealthy,
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
    use crate::effective::should_offer;
    use crate::item::{Health, ItemName, Outcome, Progress};

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
        let new = version(b"new", 2);
        let said = |state: &ItemState| answer(Some(state), &new).word();
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
        let leaving = ItemState { running: Some(version(b"old", 1)), ..on_trial };
        assert_eq!(answer(Some(&leaving), &version(b"old", 3)), Answer::None, "it has not returned yet");
        assert_eq!(said(&state(Some(b"old"), Some(Outcome::RolledBack))), "refused");
        assert_eq!(answer(None, &new), Answer::None);
        assert_eq!(answer(None, &ItemVersion::removal(new.generation)), Answer::There);
    }

    #[test]
    fn a_release_is_what_its_number_says_and_not_for_whom_it_has_files() {
        let release =
            |number: &str, bytes, at| ItemVersion { version: number.to_owned(), ..version(bytes, at) };
        let (one, both) = (release("0.3.0", b"x86_64", 2), release("0.3.0", b"x86_64, aarch64", 3));
        let of = |running: &ItemVersion, outcome| ItemState {
            item: ItemName::Release,
            running: Some(running.clone()),
            attempted: Some(one.clone()),
            ..state(None, outcome)
        };
        let there = of(&one, Some(Outcome::Applied));
        assert_eq!(answer(Some(&there), &both), Answer::There);
        assert_eq!(answer(Some(&there), &release("0.4.0", b"x86_64", 4)), Answer::None);
        assert!(!should_offer(&both, Some(&there)), "nothing changes on the host");
        let back = of(&release("0.2.0", b"old", 1), Some(Outcome::RolledBack));
        assert_eq!(answer(Some(&back), &one).word(), "refused");
        assert_eq!(answer(Some(&back), &both), Answer::None, "it is asked again");
        assert_eq!(answer(Some(&there), &ItemVersion::removal(both.generation)), Answer::There);
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
