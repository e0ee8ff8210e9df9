//! What is seen of a rollout at one moment.

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{NodeId, RolloutId},
};

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
    /// It has refused it, for what the change is or for what the host is.
    Failed,
    /// It does not take part: its own lock forbids it, its host's administrator lets changes
    /// rest, or its agent does not know the kind.
    Excused,
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
