//! Losses that belong together. Many nodes that go offline within a short time are one event, and
//! what they have in common, and those who are still there have not, is its cause. What is told of each
//! node stays as it is.

mod common;

use std::time::Duration;

use muster_common::{
    clock::Instant,
    ids::{NodeId, ReplicaId},
};

pub use common::{Candidates, Common, Named, Seen};

/// So few are no mass, whatever their share.
const LEAST: usize = 10;
/// Of so many that were there one must be lost.
const SHARE: usize = 20;
/// So many are a mass, whatever their share.
const ENOUGH: usize = 1000;
/// Of so many is kept who they were: what nine in ten of them have in common can be told from these.
const KEPT: usize = 10_000;

/// A node that went offline, though nobody had said that it would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub node: NodeId,
    /// Who had its session last, if that is known.
    pub replica: Option<ReplicaId>,
    /// The control plane had been away, and it did not return.
    pub after_away: bool,
}

/// What kept the control plane itself from hearing its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Away {
    /// This process was started anew.
    Restarted,
    /// It was stopped for a while, or its machine was.
    Suspended,
    /// It could not read the store.
    Database,
    /// Another replica, which had their sessions, ended.
    Replica(String),
}

/// What many nodes were lost by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The control plane did not hear them.
    Ours(Away),
    /// They have it in common.
    Theirs(Common),
    /// Nothing that is known here.
    Unknown,
}

/// How long losses belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When nobody was lost for so long, it is over.
    pub quiet: Duration,
    /// What takes longer is told in parts.
    pub longest: Duration,
}

/// Losses that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// When the first was lost.
    pub begun: Instant,
    /// When the last was.
    pub last: Instant,
    /// How many.
    pub count: usize,
    /// Of them who had been waited for since the control plane was away.
    pub after_away: usize,
    /// Who they were; of very many only the first.
    pub nodes: Vec<Lost>,
}

/// Losses as they come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses(Option<Burst>);

/// Whether so many losses are a mass, where so many nodes are still there.
#[must_use]
pub const fn are_many(lost: usize, there: usize) -> bool {
    lost >= ENOUGH || lost >= LEAST && lost * SHARE >= lost + there
}

/// Losses that another replica tells are known here so much later at most.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

impl Limits {
    /// For nodes that speak once in this interval: those that fall silent at once are found out
    /// within one.
    #[must_use]
    pub fn from_interval(interval: Duration) -> Self {
        let quiet = (interval / 2).max(TOLD_WITHIN);
        Self { quiet, longest: quiet * 8 }
    }
}

impl Losses {
    /// One more.
    pub fn add(&mut self, lost: Lost, now: Instant) {
        let new = || Burst { begun: now, last: now, count: 0, after_away: 0, nodes: Vec::new() };
        let burst = self.0.get_or_insert_with(new);
        burst.last = now;
        burst.count += 1;
        burst.after_away += usize::from(lost.after_away);
        if burst.nodes.len() < KEPT {
            burst.nodes.push(lost);
        }
    }

    /// How many there are by now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |burst| burst.count)
    }

    /// These could not be told now.
    pub fn put_back(&mut self, burst: Burst) {
        self.0 = Some(match self.0.take() {
            Some(later) => burst.with(later),
            None => burst,
        });
    }

    /// Takes those that belong together, once it is over.
    pub fn over(&mut self, now: Instant, limits: Limits) -> Option<Burst> {
        self.0.take_if(|burst| {
            now.saturating_duration_since(burst.last) >= limits.quiet
                || now.saturating_duration_since(burst.begun) >= limits.longest
        })
    }
}

impl Burst {
    /// Both as one.
    #[must_use]
    fn with(mut self, mut later: Self) -> Self {
        later.nodes.truncate(KEPT.saturating_sub(self.nodes.len()));
        self.nodes.append(&mut later.nodes);
        let (count, after_away) = (self.count + later.count, self.after_away + later.after_away);
        Self { last: self.last.max(later.last), count, after_away, ..self }
    }

    /// Whether they are so many that it is told, where so many are still there.
    #[must_use]
    pub const fn is_mass(&self, there: usize) -> bool {
        are_many(self.count, there)
    }

    /// Whether it was the control plane itself that most of them were lost by.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.after_away * 2 > self.count
    }
}

impl Cause {
    /// What kind it is, in one word, stable, and which one: the name of a replica, a label, a
    /// network; empty where there is no more to say.
    #[must_use]
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Self::Ours(Away::Restarted) => ("ControlPlaneRestarted", String::new()),
            Self::Ours(Away::Suspended) => ("ControlPlaneSuspended", String::new()),
            Self::Ours(Away::Database) => ("DatabaseAway", String::new()),
            Self::Ours(Away::Replica(name)) => ("ReplicaEnded", name.clone()),
            Self::Theirs(Common::Replica(name)) => ("SameReplica", name.clone()),
            Self::Theirs(Common::Label(key, value)) => ("SameLabel", format!("{key}={value}")),
            Self::Theirs(Common::Network(network)) => ("SameNetwork", network.clone()),
            Self::Theirs(Common::Everybody) => ("Everybody", String::new()),
            Self::Unknown => ("Unknown", String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits { quiet: Duration::from_secs(2), longest: Duration::from_secs(16) };

    fn lost(after_away: bool) -> Lost {
        Lost { node: NodeId::generate(), replica: None, after_away }
    }

    #[test]
    fn losses_that_follow_each_other_are_one_and_end_with_quiet() {
        let (start, limits) = (Clock::System.monotonic(), LIMITS);
        let mut losses = Losses::default();
        assert_eq!(losses.over(start, limits), None, "nobody was lost");
        for n in 0..5 {
            losses.add(lost(n == 0), start + SECOND * n);
            assert_eq!(losses.over(start + SECOND * (n + 1), limits), None, "it may go on");
        }
        let burst = losses.over(start + SECOND * 6, limits).unwrap();
        assert_eq!((burst.count, burst.nodes.len(), burst.after_away), (5, 5, 1));
        assert_eq!((burst.begun, burst.last), (start, start + SECOND * 4));
        assert_eq!(losses, Losses::default(), "it is told once");
    }

    #[test]
    fn what_could_not_be_told_is_told_with_what_came_meanwhile() {
        let (start, limits) = (Clock::System.monotonic(), LIMITS);
        let mut losses = Losses::default();
        losses.add(lost(true), start);
        let untold = losses.over(start + SECOND * 2, limits).unwrap();
        losses.put_back(untold.clone());
        assert_eq!(losses.over(start + SECOND * 2, limits).as_ref(), Some(&untold));
        losses.add(lost(false), start + SECOND * 3);
        losses.put_back(untold);
        let both = losses.over(start + SECOND * 5, limits).unwrap();
        assert_eq!((both.count, both.after_away, both.nodes.len()), (2, 1, 2));
        assert_eq!((both.begun, both.last), (start, start + SECOND * 3));
    }

    #[test]
    fn losses_without_an_end_are_told_in_parts() {
        let (start, limits) = (Clock::System.monotonic(), LIMITS);
        let (mut losses, mut parts) = (Losses::default(), Vec::new());
        for n in 0..40 {
            losses.add(lost(false), start + SECOND * n);
            parts.extend(losses.over(start + SECOND * n, limits).map(|burst| burst.count));
        }
        assert_eq!(parts, [17, 17]);
    }

    #[test]
    fn few_are_no_mass_and_neither_is_a_small_share() {
        let burst = |count| {
            let mut losses = Losses::default();
            let now = Clock::System.monotonic();
            (0..count).for_each(|_| losses.add(lost(false), now));
            losses.over(now + SECOND * 2, LIMITS).unwrap()
        };
        for (count, there, is_mass) in [
            (9, 0, false),
            (10, 0, true),
            (10, 190, true),
            (10, 191, false),
            (999, 100_000, false),
            (1000, 1_000_000, true),
        ] {
            assert_eq!(burst(count).is_mass(there), is_mass, "{count} of {}", count + there);
        }
        assert_eq!(burst(KEPT + 1).nodes.len(), KEPT);
        assert_eq!(burst(KEPT + 1).count, KEPT + 1);
    }

    #[test]
    fn it_is_ours_if_most_of_them_were_waited_for() {
        let (now, mut losses) = (Clock::System.monotonic(), Losses::default());
        [true, false].into_iter().for_each(|away| losses.add(lost(away), now));
        assert!(!losses.0.as_ref().unwrap().is_ours());
        losses.add(lost(true), now);
        assert!(losses.0.unwrap().is_ours());
    }
}
