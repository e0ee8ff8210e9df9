//! Nodes whose host's administrator lets changes rest: they take part when the pause is
//! over, and their time to answer counts from then.

use std::time::Duration;

use muster_common::clock::UnixMillis;
use muster_domain::condition::Condition;

/// As an agent tells it.
const PAUSED: &str = "Paused";
/// By how much a host's clock may be off, for its times to count: what `ClockOk` allows.
const CLOCK: &str = "ClockOk";
pub(super) const TOLERANCE: Duration = Duration::from_secs(5);

/// Whether changes rest on a node.
pub(super) fn holds(conditions: &[Condition]) -> bool {
    find(conditions, PAUSED).is_some_and(|it| it.holds == Some(true))
}

/// Why changes rest on a node, for people. `None`: they do not.
pub(in crate::app) fn rests(conditions: &[Condition]) -> Option<String> {
    let pause = find(conditions, PAUSED).filter(|it| it.holds == Some(true))?;
    Some(format!("changes rest on the host since {}: {}", pause.since, pause.message))
}

/// From when on a node that was given a change has had time for it.
pub(super) fn had_time_from(given: UnixMillis, conditions: &[Condition], now: UnixMillis) -> UnixMillis {
    let is_in_step = find(conditions, CLOCK).is_some_and(|it| it.holds == Some(true));
    let over = find(conditions, PAUSED).filter(|it| is_in_step && it.holds == Some(false));
    let ended = over.map(|it| it.since);
    // A host whose clock is not ours could put its end off for ever.
    let ended = ended.filter(|ended| *ended <= now + TOLERANCE);
    ended.map_or(given, |ended| given.max(ended.min(now)))
}

fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|it| it.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &str, holds: bool, since: i64) -> Condition {
        let (reason, message) = (String::new(), String::new());
        Condition { kind: kind.to_owned(), holds: Some(holds), reason, message, since: UnixMillis(since) }
    }

    fn from(conditions: &[Condition]) -> i64 {
        had_time_from(UnixMillis(100), conditions, UnixMillis(10_000)).0
    }

    #[test]
    fn time_counts_from_the_end_of_a_pause() {
        assert_eq!(from(&[]), 100);
        assert_eq!(from(&[told("Paused", true, 5_000), told("ClockOk", true, 1)]), 100, "it has not ended");
        assert_eq!(from(&[told("Paused", false, 5_000), told("ClockOk", true, 1)]), 5_000);
        assert_eq!(from(&[told("Paused", false, 50), told("ClockOk", true, 1)]), 100, "before it was given");
    }

    #[test]
    fn a_clock_that_is_off_puts_nothing_off() {
        assert_eq!(from(&[told("Paused", false, 5_000), told("ClockOk", false, 1)]), 100);
        assert_eq!(from(&[told("Paused", false, 90_000_000), told("ClockOk", true, 1)]), 100);
    }
}
