//! One host of a swarm as a test or a bench holds it: how it behaves, and what it has
//! gone through since the probe was last cleared.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use muster_common::{
    clock::{Clock, Instant},
    digest::Sha256,
};
use muster_node_agent::{
    session::frames::ItemReport,
    state::{ItemState, Offer},
};

use super::Counters;

/// How a host takes what it is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Temper {
    /// It applies it at once.
    #[default]
    Prompt,
    /// It applies it after this time.
    Slow(Duration),
    /// It rejects it, for what it is.
    Rejecting,
}

/// One host.
#[derive(Debug)]
pub struct Probe {
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    temper: Temper,
    seen: Seen,
}

/// What a host has gone through.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Versions of items that it was offered.
    pub offers: u64,
    /// When the first came.
    pub received: Option<Instant>,
    /// When it heard that its answer to all of them is stored.
    pub acknowledged: Option<Instant>,
    /// When it got its newest order.
    pub ordered: Option<Instant>,
    /// When it heard that the end of its newest order is stored.
    pub finished: Option<Instant>,
    /// Offered and not reported yet.
    owed: Vec<(String, Sha256)>,
    /// Number of the report that answered the last one.
    answered: Option<u64>,
}

impl Probe {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it takes what it is offered.
    #[must_use]
    pub fn temper(&self) -> Temper {
        self.state().temper
    }

    /// From now on it takes it so.
    pub fn set_temper(&self, temper: Temper) {
        self.state().temper = temper;
    }

    /// What it has gone through.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    /// Forgets what it has gone through.
    pub fn clear(&self) {
        self.state().seen = Seen::default();
    }

    pub(super) fn ordered(&self) {
        self.state().seen.ordered = Some(Clock::System.monotonic());
    }

    pub(super) fn finished(&self) {
        self.state().seen.finished = Some(Clock::System.monotonic());
    }

    pub(super) fn offered(&self, offers: &[Offer]) {
        if offers.is_empty() {
            return;
        }
        let (now, seen) = (Clock::System.monotonic(), &mut self.state().seen);
        seen.offers += offers.len() as u64;
        seen.received.get_or_insert(now);
        for offer in offers {
            seen.owed.retain(|(item, _)| *item != offer.item);
            seen.owed.push((offer.item.clone(), offer.version.sha256));
        }
        (seen.answered, seen.acknowledged) = (None, None);
    }

    pub(super) fn reported(&self, report: &ItemReport) {
        let seen = &mut self.state().seen;
        if seen.owed.is_empty() {
            return;
        }
        let is_told = |item: &str, sha256: Sha256| {
            let tried = |state: &ItemState| state.attempted.as_ref().is_some_and(|it| it.sha256 == sha256);
            report.items.iter().any(|state| state.item == *item && tried(state))
        };
        seen.owed.retain(|(item, sha256)| !is_told(item, *sha256));
        seen.answered = seen.owed.is_empty().then_some(report.seq);
    }

    pub(super) fn stored(&self, items_seq: u64) {
        let seen = &mut self.state().seen;
        if seen.acknowledged.is_none() && seen.answered.is_some_and(|seq| seq <= items_seq) {
            seen.acknowledged = Some(Clock::System.monotonic());
            self.counters.settled.fetch_add(1, Ordering::Relaxed);
        }
    }
}
