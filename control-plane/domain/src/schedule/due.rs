//! What a schedule has to do now. Pure.

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::clock::UnixMillis;

use super::Cron;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this; `None`: never again.
    Later(Option<UnixMillis>),
    /// It is time, or was a short while ago; earlier times that were missed are not made up for.
    Now(UnixMillis),
    /// A time was missed, and so were perhaps more until `until`: too long ago to be made up for.
    Missed {
        /// The first of them.
        at: UnixMillis,
        /// Nothing is due up to here.
        until: UnixMillis,
    },
}

/// What is due after `since`. A time that is over for longer than `catch_up` is missed.
#[must_use]
pub fn due(cron: &Cron, zone: &TimeZone, since: UnixMillis, now: UnixMillis, catch_up: Duration) -> Due {
    let first = match cron.next(zone, since) {
        Some(first) if first <= now => first,
        later => return Due::Later(later),
    };
    let until = now - catch_up - Duration::from_millis(1);
    let next = |after: &UnixMillis| cron.next(zone, *after).filter(|at| *at <= now);
    match std::iter::successors(next(&until.max(since)), next).last() {
        Some(last) => Due::Now(last),
        None => Due::Missed { at: first, until },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// 2023-11-14T22:00:00Z.
    const NOW: UnixMillis = UnixMillis(1_699_999_200_000);

    fn at(since: UnixMillis, now: UnixMillis) -> Due {
        due(&"*/5 * * * *".parse().unwrap(), &TimeZone::UTC, since, now, MINUTE * 12)
    }

    #[test]
    fn a_time_is_due_once() {
        assert_eq!(at(NOW - MINUTE, NOW - Duration::from_millis(1)), Due::Later(Some(NOW)));
        assert_eq!(at(NOW - MINUTE, NOW), Due::Now(NOW));
        assert_eq!(at(NOW, NOW + MINUTE), Due::Later(Some(NOW + MINUTE * 5)));
    }

    #[test]
    fn of_times_that_passed_meanwhile_the_last_is_made_up_for() {
        assert_eq!(at(NOW - MINUTE, NOW + MINUTE * 11), Due::Now(NOW + MINUTE * 10));
        let hourly = |now| due(&"0 * * * *".parse().unwrap(), &TimeZone::UTC, NOW - MINUTE, now, MINUTE * 12);
        assert_eq!(hourly(NOW + MINUTE * 12), Due::Now(NOW));
        let late = NOW + MINUTE * 13;
        let until = late - MINUTE * 12 - Duration::from_millis(1);
        assert_eq!(hourly(late), Due::Missed { at: NOW, until });
        let after = due(&"0 * * * *".parse().unwrap(), &TimeZone::UTC, until, late, MINUTE * 12);
        assert_eq!(after, Due::Later(Some(NOW + MINUTE * 60)), "it is missed once");
    }
}
