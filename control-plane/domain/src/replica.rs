//! The processes that serve one store: which of them live, and which one leads.
//!
//! Each writes a beat again and again. No two clocks are compared: whether another one's beat
//! still moves is seen by the own clock of whoever looks. One that is silent for longer than
//! its lease is declared lost in the store, in the same write that frees the nodes it held;
//! it notices when it wants to beat the next time, and begins anew.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{
    clock::{Instant, UnixMillis},
    ids::ReplicaId,
};

/// Between two beats.
pub const BEAT: Duration = Duration::from_secs(2);
/// One that is silent for longer is lost.
pub const LEASE: Duration = Duration::from_secs(10);
/// One that could not beat for so long leads no more: well before others say so.
pub const LEADS_FOR: Duration = Duration::from_secs(6);

/// A replica that has one session in so many more than the average keeps them.
const TOLERATED: u64 = 10;
/// Or so many.
const LITTLE: u64 = 8;
/// One session in so many is given away in the time of one beat.
const AT_ONCE: u64 = 50;

/// A process as it was when it last beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Of its configuration; no two that live have the same.
    pub name: String,
    /// Of this run.
    pub id: ReplicaId,
    /// Release.
    pub version: String,
    /// When it started.
    pub started_at: UnixMillis,
    /// How often it has beaten.
    pub beat: u64,
    /// When it beat, by its own clock; for people.
    pub beat_at: UnixMillis,
    /// Where nodes reach it.
    pub addresses: Vec<String>,
    /// Sessions it holds.
    pub sessions: u64,
    /// Of the change feed, as far as it knows it.
    pub revision: u64,
    /// It does the work that one of them does for all.
    pub leads: bool,
}

/// How many sessions one that has `ours` gives away now, until it has about as many as the others:
/// a few at each beat, so that nobody is flooded, and none for a small difference.
#[must_use]
pub fn surplus(ours: u64, all: &[u64]) -> u64 {
    let average = all.iter().sum::<u64>().div_ceil((all.len() as u64).max(1));
    if ours <= average + (average / TOLERATED).max(LITTLE) {
        return 0;
    }
    (ours - average).min((ours / AT_ONCE).max(1))
}

/// Whether so many came since the last beat that one told to go would have to wait behind them.
#[must_use]
pub fn is_rush(before: u64, now: u64) -> bool {
    now > before + (before / AT_ONCE).max(LITTLE)
}

/// When the others were last seen to beat.
#[derive(Debug, Clone, Default)]
pub struct Beats(BTreeMap<ReplicaId, (u64, Instant)>);

/// A beat that has not moved for the time of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent {
    /// Whose.
    pub id: ReplicaId,
    /// The one it was: if it is another by now, it lives.
    pub beat: u64,
}

impl Beats {
    /// Takes in what was read of all. Answers those that are silent for too long.
    pub fn look(&mut self, all: &[Replica], now: Instant) -> Vec<Silent> {
        self.0.retain(|id, _| all.iter().any(|replica| replica.id == *id));
        let mut silent = Vec::new();
        for Replica { id, beat, .. } in all {
            let seen = self.0.entry(*id).or_insert((*beat, now));
            if seen.0 != *beat {
                *seen = (*beat, now);
            } else if now - seen.1 >= LEASE {
                silent.push(Silent { id: *id, beat: *beat });
            }
        }
        silent
    }

    /// Nothing could be read for a while: nobody is blamed for a beat that could not be seen.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    fn replica(number: u128, beat: u64) -> Replica {
        Replica {
            name: format!("r{number}"),
            id: ReplicaId::from_u128(number),
            version: String::new(),
            started_at: UnixMillis(0),
            beat,
            beat_at: UnixMillis(0),
            addresses: Vec::new(),
            sessions: 0,
            revision: 0,
            leads: false,
        }
    }

    #[test]
    fn only_a_beat_that_stands_still_for_a_lease_is_silent() {
        let (mut beats, start) = (Beats::default(), Clock::System.monotonic());
        assert_eq!(beats.look(&[replica(1, 5), replica(2, 9)], start), []);
        let later = start + LEASE - Duration::from_millis(1);
        assert_eq!(beats.look(&[replica(1, 6), replica(2, 9)], later), []);
        let lost = Silent { id: ReplicaId::from_u128(2), beat: 9 };
        assert_eq!(beats.look(&[replica(1, 6), replica(2, 9)], start + LEASE), [lost]);
        // It moved after all, or began anew under another id.
        assert_eq!(beats.look(&[replica(1, 6), replica(2, 10)], start + LEASE), []);
        assert_eq!(beats.look(&[replica(1, 7), replica(3, 1)], start + LEASE * 2), []);
    }

    #[test]
    fn who_saw_nothing_blames_nobody() {
        let (mut beats, start) = (Beats::default(), Clock::System.monotonic());
        beats.look(&[replica(1, 5)], start);
        beats.forget();
        assert_eq!(beats.look(&[replica(1, 5)], start + LEASE * 3), []);
    }

    #[test]
    fn one_that_has_more_than_the_others_gives_a_few_until_it_has_as_many() {
        assert_eq!(surplus(0, &[]), 0);
        assert_eq!(surplus(10_000, &[10_000]), 0, "it is alone");
        assert_eq!(surplus(10, &[10, 0, 0]), 0, "a little");
        assert_eq!(surplus(5_000, &[5_000, 5_000, 0]), 100);
        assert_eq!(surplus(60, &[60, 0, 0]), 1);
        let (mut counts, mut beats) = ([5_000, 5_000, 0], 0);
        while counts.iter().any(|ours| surplus(*ours, &counts) > 0) {
            let before = counts;
            for number in 0..3 {
                let given = surplus(before[number], &before);
                counts[number] -= given;
                counts[2] += given; // as a balancer does that knows who has least
            }
            beats += 1;
        }
        assert!(
            beats < 40 && counts.iter().all(|ours| (2_700..=3_667).contains(ours)),
            "{beats}: {counts:?}"
        );
    }

    #[test]
    fn who_leads_stops_before_others_may_say_that_it_is_lost() {
        assert!(BEAT * 2 < LEADS_FOR && LEADS_FOR + BEAT < LEASE);
    }
}
