//! How a crowd comes in: one after another at a rate, instead of all at once.

use std::{ops::RangeInclusive, time::Duration};

use muster_common::clock::Instant;

/// The time over which so many are to spread themselves, so that they come at this
/// rate and not faster, within these bounds.
#[must_use]
pub fn window(count: usize, per_second: u32, bounds: RangeInclusive<Duration>) -> Duration {
    let (least, most) = bounds.into_inner();
    let whole = Duration::try_from_secs_f64(count as f64 / f64::from(per_second.max(1))).unwrap_or(most);
    whole.min(most).max(least)
}

/// Places in a line that moves at a rate. After a rest so many may come at once.
///
/// Kept as the moment at which the line is at rest again: one number, and nothing to
/// be filled up while nobody comes.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    between: Duration,
    /// So far before its place each may come.
    ahead: Duration,
    rests_at: Option<Instant>,
}

impl Slots {
    /// A line at rest.
    #[must_use]
    pub fn new(per_second: u32, at_once: u32) -> Self {
        let between = Duration::from_secs(1) / per_second.max(1);
        Self { between, ahead: between * at_once.saturating_sub(1), rests_at: None }
    }

    /// Takes the next place, and answers how long until it comes. `None`: longer than
    /// `most`; nothing was taken.
    pub fn take(&mut self, now: Instant, most: Duration) -> Option<Duration> {
        let place = self.rests_at.map_or(now, |rests| rests.max(now));
        let wait = (place - now).saturating_sub(self.ahead);
        if wait > most {
            return None;
        }
        self.rests_at = Some(place + self.between);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_window_is_as_long_as_all_need_at_the_rate() {
        let bounds = SECOND * 2..=SECOND * 75;
        for (count, per_second, seconds) in [
            (0, 1000, 2),
            (10, 1000, 2),
            (9000, 1000, 9),
            (9000, 500, 18),
            (usize::MAX, 1, 75),
            (100, 0, 75), // a rate of nothing is one
        ] {
            assert_eq!(
                window(count, per_second, bounds.clone()),
                SECOND * seconds,
                "{count} at {per_second}"
            );
        }
        assert_eq!(window(5, 1, SECOND * 9..=SECOND), SECOND * 9, "the least counts");
    }

    #[test]
    fn places_come_at_the_rate_after_as_many_as_may_come_at_once() {
        let start = Clock::System.monotonic();
        let mut slots = Slots::new(100, 3);
        let mut taken = |after: Duration| slots.take(start + after, SECOND).unwrap().as_millis();
        let waits: Vec<_> = (0..6).map(|_| taken(Duration::ZERO)).collect();
        assert_eq!(waits, [0, 0, 0, 10, 20, 30]);
        assert_eq!(taken(Duration::from_millis(30)), 10, "time has passed for all");
        let waits: Vec<_> = (0..4).map(|_| taken(SECOND)).collect();
        assert_eq!(waits, [0, 0, 0, 10], "after a rest as at the start, and no more than that");
    }

    #[test]
    fn nobody_is_given_a_place_too_far_away_and_none_is_used_up_for_that() {
        let start = Clock::System.monotonic();
        let mut slots = Slots::new(1, 1);
        assert_eq!(slots.take(start, SECOND), Some(Duration::ZERO));
        assert_eq!(slots.take(start, SECOND), Some(SECOND));
        assert_eq!((slots.take(start, SECOND), slots.take(start, SECOND)), (None, None));
        assert_eq!(slots.take(start + SECOND, SECOND), Some(SECOND));
    }
}
