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

/// Streams that broke together, and the line in which their nodes come back: one at a time, at a
/// rate. A few that break leave no line.
#[derive(Debug, Clone)]
pub struct Crowds {
    between: Duration,
    /// When the line began, and when it will be at rest again.
    line: Option<(Instant, Instant)>,
    /// When those broke that were so many last: the first of them, and the last.
    crowd: Option<(Instant, Instant)>,
}

impl Crowds {
    /// Where so many come back in a second.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { between: Duration::from_secs(1) / per_second.max(1), line: None, crowd: None }
    }

    /// A stream broke, of a node that has `grace` to come back. If their line takes a quarter of
    /// that, they are many: whoever finds it full tries again later, and the time between two tries grows.
    pub fn broke(&mut self, now: Instant, grace: Duration) {
        let (begun, rests) = self.line.filter(|(_, rests)| *rests > now).unwrap_or((now, now));
        // Two that break at the same moment may be told in either order.
        let (begun, rests) = (begun.min(now), rests + self.between);
        self.line = Some((begun, rests));
        if rests - now < grace / 4 {
            return;
        }
        // Those of the crowd before are still waited for.
        let before = self.crowd.filter(|(_, last)| begun.saturating_duration_since(*last) <= grace);
        let (first, last) = before.unwrap_or((begun, now));
        self.crowd = Some((first.min(begun), last.max(now)));
    }

    /// Whether a stream that broke at this time did so together with many.
    #[must_use]
    pub fn has(&self, broke_at: Instant) -> bool {
        self.crowd.is_some_and(|(first, last)| first <= broke_at && broke_at <= last)
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

    #[test]
    fn many_that_break_together_are_a_crowd_from_the_first_to_the_last_and_few_are_none() {
        let (start, grace) = (Clock::System.monotonic(), SECOND * 20);
        let mut crowds = Crowds::new(100);
        let mut now = start;
        // As many as come back at the same time leave no line, however long it goes on.
        for _ in 0..3000 {
            crowds.broke(now, grace);
            now += SECOND / 100;
        }
        assert!(!crowds.has(start) && !crowds.has(now));
        let first = now;
        for n in 0..499 {
            crowds.broke(first + SECOND * n / 1000, grace);
        }
        assert!(!crowds.has(first), "they are back in less than five seconds");
        let last = first + SECOND / 2;
        (0..100).for_each(|_| crowds.broke(last, grace));
        assert!(crowds.has(first) && crowds.has(last));
        assert!(!crowds.has(start) && !crowds.has(last + SECOND));
    }

    #[test]
    fn a_crowd_soon_after_another_one_is_one_with_it() {
        let (start, grace) = (Clock::System.monotonic(), SECOND * 20);
        let mut crowds = Crowds::new(100);
        let mut break_at = |at: Instant| (0..600).for_each(|_| crowds.broke(at, grace));
        break_at(start);
        break_at(start + SECOND * 10);
        assert!(crowds.has(start) && crowds.has(start + SECOND * 10));
        let mut break_at = |at: Instant| (0..600).for_each(|_| crowds.broke(at, grace));
        break_at(start + SECOND * 60);
        assert!(!crowds.has(start) && crowds.has(start + SECOND * 60), "the first are judged by now");
    }
}
