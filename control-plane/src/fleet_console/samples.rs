//! How many nodes were in each state over the last hours: in memory, a bounded number of
//! counts, for whoever sees every node.

use std::collections::VecDeque;

use muster_common::clock::UnixMillis;
use muster_domain::access::{Permission, Scope};
use parking_lot::Mutex;

use super::words::STATES;
use crate::app::App;

/// Counts that are kept: a day, at one a minute.
const KEPT: usize = 1440;

/// One count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: UnixMillis,
    /// Nodes in each state, in the order of `STATES`.
    pub(super) nodes: [usize; STATES.len()],
}

/// The last of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<VecDeque<Sample>>);

impl Sample {
    /// All nodes.
    pub(super) fn total(&self) -> usize {
        self.nodes.iter().sum()
    }
}

impl Samples {
    /// Counts now.
    pub(super) async fn take(&self, app: &App) {
        let (counts, _) = app.node_counts(&Scope::whole("fleet-console", Permission::Read)).await;
        let count = |state| counts.iter().find(|(it, _)| *it == state).map_or(0, |(_, count)| *count);
        self.add(Sample { at: app.clock.now(), nodes: STATES.map(count) });
    }

    fn add(&self, sample: Sample) {
        let mut kept = self.0.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(sample);
    }

    /// At most so many of them, spread evenly; the first and the last are always there.
    pub(super) fn spread(&self, most: usize) -> Vec<Sample> {
        let kept = self.0.lock();
        let (last, steps) = (kept.len().saturating_sub(1), most.max(2) - 1);
        if kept.len() <= most {
            return kept.iter().copied().collect();
        }
        (0..=steps).map(|step| kept[step * last / steps]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_kept_and_shown_and_both_ends_are() {
        let samples = Samples::default();
        assert!(samples.spread(10).is_empty());
        for number in 0..KEPT + 5 {
            samples.add(Sample { at: UnixMillis(i64::try_from(number).unwrap()), nodes: [number; 7] });
        }
        let shown = samples.spread(10);
        let at = |at: usize| UnixMillis(i64::try_from(at).unwrap());
        assert_eq!((shown.len(), shown[0].at, shown[9].at), (10, at(5), at(KEPT + 4)));
        assert!(shown.is_sorted_by(|a, b| a.at < b.at), "{shown:?}");
        assert_eq!(samples.spread(usize::MAX).len(), KEPT);
    }
}
