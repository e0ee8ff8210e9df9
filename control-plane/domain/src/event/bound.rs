//! How many events that nodes make are told one by one: few at once, and few in a minute, however
//! large the fleet is. The others are told as one of many.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_common::clock::Instant;

use super::Kind;

/// So many alike in one write are one event of many.
pub const AT_ONCE: usize = 10;
/// So many of a kind may come together,
const ROOM: u32 = 20;
/// and one more in this time: twenty a minute.
const ONE_IN: Duration = Duration::from_secs(3);

/// So many matters of a kind have an event of many of their own
const MATTERS: usize = 64;
/// within this time. Hosts name them, and one could name ever others.
const WITHIN: Duration = Duration::from_secs(600);

/// What was told of each kind lately.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    rates: BTreeMap<Kind, Rate>,
    matters: BTreeMap<Kind, Matters>,
}

#[derive(Debug, Clone)]
struct Matters {
    since: Instant,
    known: BTreeSet<(String, String)>,
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    left: u32,
    /// Up to when room was given back.
    since: Instant,
}

impl Rates {
    /// Whether so many of a kind are told one by one.
    pub fn admits(&mut self, kind: Kind, count: usize, now: Instant) -> bool {
        let Some(count) = u32::try_from(count).ok().filter(|_| count < AT_ONCE) else { return false };
        let rate = self.rates.entry(kind).or_insert(Rate { left: ROOM, since: now });
        let passed = now.saturating_duration_since(rate.since);
        let back = u32::try_from(passed.as_millis() / ONE_IN.as_millis()).unwrap_or(ROOM);
        rate.left = rate.left.saturating_add(back).min(ROOM);
        rate.since = if rate.left == ROOM { now } else { rate.since + ONE_IN * back };
        let admits = rate.left >= count;
        if admits {
            rate.left -= count;
        }
        admits
    }

    /// Whether what many do about this, for this reason, is an event of its own. Else it is part of one about
    /// all the rest of its kind.
    pub fn has_own(&mut self, kind: Kind, subject: &str, reason: &str, now: Instant) -> bool {
        let begun = || Matters { since: now, known: BTreeSet::new() };
        let matters = self.matters.entry(kind).or_insert_with(begun);
        if now.saturating_duration_since(matters.since) >= WITHIN {
            *matters = begun();
        }
        let matter = (subject.to_owned(), reason.to_owned());
        matters.known.contains(&matter) || matters.known.len() < MATTERS && matters.known.insert(matter)
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn few_are_told_one_by_one_and_many_are_not() {
        let (mut rates, start) = (Rates::default(), Clock::System.monotonic());
        assert!(!rates.admits(Kind::NodeOnline, AT_ONCE, start), "they came together");
        assert!(rates.admits(Kind::NodeOnline, 9, start));
        assert!(rates.admits(Kind::NodeOnline, 9, start));
        assert!(!rates.admits(Kind::NodeOnline, 3, start), "there were enough");
        assert!(rates.admits(Kind::NodeOnline, 2, start));
        assert!(rates.admits(Kind::NodeOffline, 9, start), "another kind is another matter");
    }

    #[test]
    fn who_names_ever_other_matters_makes_no_more_events_by_it() {
        let (mut rates, start) = (Rates::default(), Clock::System.monotonic());
        let mut own = |from: usize, now| {
            let named = (from..from + 1000).map(|number| format!("bundle/{number}"));
            named.filter(|name| rates.has_own(Kind::ItemApplied, name, "", now)).count()
        };
        assert_eq!(own(0, start), MATTERS);
        assert_eq!(own(0, start), MATTERS, "those that are known stay known");
        assert_eq!(own(5000, start + WITHIN / 2), 0);
        assert_eq!(own(5000, start + WITHIN), MATTERS);
    }

    #[test]
    fn time_gives_room_back_and_never_more_than_there_was() {
        let (mut rates, start) = (Rates::default(), Clock::System.monotonic());
        for _ in 0..ROOM {
            assert!(rates.admits(Kind::NodeOnline, 1, start));
        }
        let mut told = 0;
        for second in 1..=600 {
            told += u32::from(rates.admits(Kind::NodeOnline, 1, start + Duration::from_secs(second)));
        }
        assert_eq!(told, 200, "twenty a minute");
        let later = start + Duration::from_secs(100_000);
        let told = (0..100).filter(|_| rates.admits(Kind::NodeOnline, 1, later)).count();
        assert_eq!(told, 20);
    }
}
