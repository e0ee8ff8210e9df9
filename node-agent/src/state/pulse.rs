//! Whether the tasks of this process get on. Each says by when it comes round again; one
//! that does not, and all that waits for it, is stuck.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use muster_common::clock::Instant;
use parking_lot::Mutex;

/// What is known of all. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<BTreeMap<&'static str, Instant>>>);

impl Pulse {
    /// A task has come round, and will again within this.
    pub fn beat(&self, task: &'static str, now: Instant, within: Duration) {
        self.0.lock().insert(task, now + within);
    }

    /// A task that should have come round by now.
    #[must_use]
    pub fn late(&self, now: Instant) -> Option<&'static str> {
        self.0.lock().iter().find(|(_, by)| **by < now).map(|(task, _)| *task)
    }

    /// A task is over.
    pub fn done(&self, task: &str) {
        self.0.lock().remove(task);
    }

    /// Nothing runs that would come round.
    pub fn rest(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn one_that_does_not_come_round_in_time_is_late_whatever_the_others_do() {
        let (pulse, now, second) = (Pulse::default(), Clock::System.monotonic(), Duration::from_secs(1));
        assert_eq!(pulse.late(now), None);
        pulse.beat("applier", now, second);
        pulse.beat("session", now, 10 * second);
        assert_eq!(pulse.late(now + second), None);
        assert_eq!(pulse.late(now + 2 * second), Some("applier"));
        pulse.beat("applier", now + 2 * second, second);
        assert_eq!(pulse.late(now + 2 * second), None);
        assert_eq!(pulse.late(now + 11 * second), Some("applier"));
        pulse.done("session");
        assert_eq!(pulse.late(now + 11 * second), Some("applier"));
        pulse.done("applier");
        assert_eq!(pulse.late(now + 11 * second), None);
        pulse.beat("session", now, second);
        pulse.rest();
        assert_eq!(pulse.late(now + 100 * second), None);
    }
}
