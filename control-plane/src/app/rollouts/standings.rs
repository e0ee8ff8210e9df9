//! How the nodes of rollouts stood when they were looked at last, for metrics.

use muster_common::ids::RolloutId;
use muster_domain::rollout::Tally;

use super::Rollouts;
use crate::metrics::Standings;

impl Rollouts {
    /// A rollout was looked at.
    pub(super) fn saw(&self, rollout: RolloutId, tally: Tally) {
        self.seen.lock().insert(rollout, tally);
    }

    /// All together of these; the others are forgotten.
    pub(in crate::app) fn standings(&self, is_open: impl Fn(RolloutId) -> bool) -> Standings {
        let mut seen = self.seen.lock();
        seen.retain(|id, _| is_open(*id));
        seen.values().fold(Standings::default(), |sum, tally| {
            let told = tally.waiting + tally.done + tally.failed + tally.excused;
            Standings {
                untouched: sum.untouched + tally.total.saturating_sub(told),
                waiting: sum.waiting + tally.waiting,
                done: sum.done + tally.done,
                failed: sum.failed + tally.failed,
                excused: sum.excused + tally.excused,
            }
        })
    }
}
