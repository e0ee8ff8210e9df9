//! How often each user of the host has tokens made: less often than the control plane lets
//! the node, so that no program takes what all others need.

use std::collections::BTreeMap;

use muster_common::clock::Instant;

/// So many at once after a rest.
const BURST: f64 = 20.0;
/// So many a second.
const PER_SECOND: f64 = 2.0;

/// What each user has left.
#[derive(Debug, Default)]
pub(super) struct Rate(BTreeMap<u32, (f64, Instant)>);

impl Rate {
    /// Whether this user may have tokens made now; it counts.
    pub(super) fn take(&mut self, uid: u32, now: Instant) -> bool {
        for (left, counted) in self.0.values_mut() {
            let rest = now.saturating_duration_since(*counted).as_secs_f64();
            (*left, *counted) = ((*left + rest * PER_SECOND).min(BURST), now);
        }
        self.0.retain(|_, (left, _)| *left < BURST);
        let (left, _) = self.0.entry(uid).or_insert((BURST, now));
        let may = *left >= 1.0;
        if may {
            *left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn one_user_has_a_burst_and_then_its_rate_whatever_others_do() {
        let (mut rate, now) = (Rate::default(), Clock::System.monotonic());
        assert_eq!((0..100).filter(|_| rate.take(1, now)).count(), 20);
        assert!(rate.take(2, now), "another has its own");
        let later = now + Duration::from_secs(3);
        assert_eq!((0..100).filter(|_| rate.take(1, later)).count(), 6);
        rate.take(3, now + Duration::from_secs(3600));
        assert_eq!(rate.0.len(), 1, "who rested is not kept");
    }
}
