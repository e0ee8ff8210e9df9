//! How many commands of an operation may go out now.
//!
//! In flight are those that are delivered or running. The ramp starts with a few, and
//! lets twice as many go each time that as many have succeeded. A failure too many ends
//! what is queued. Whoever is nowhere to be reached takes no room, because a command is
//! in flight only once it has been handed to a session.

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

use super::Counts;
use crate::{command::State, labels::is_key, rollout::Share, violation::Violation};

/// Most commands in flight that an operation can ask for.
pub const MAX_LIMIT: u32 = 1_000_000;

/// How fast an operation goes about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pacing {
    /// In flight at once. None: any number.
    pub limit: Option<u32>,
    /// In flight at first. None: no ramp.
    pub ramp_start: Option<u32>,
    /// Failures that are borne. None: any number.
    pub max_failures: Option<Share>,
    /// Nodes go in the order of this label's values.
    pub order_by_label: Option<String>,
}

/// A lease of which each command of the operation takes a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its name.
    pub lease: String,
    /// Its places.
    pub limit: u32,
    /// Those that are taken, by whatever operation.
    pub taken: u32,
}

/// Why nothing more goes out now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Its time has not come.
    NotBefore(UnixMillis),
    /// More must succeed, or end, first.
    Ramp,
    /// As many are in flight as may be.
    Limit,
    /// All places of this lease are taken.
    Lease(String),
    /// None of those that wait is connected.
    NobodyOnline,
}

/// What to do with the commands that are queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// At most so many may go out.
    HandOut(u32),
    /// None may.
    Hold(Hold),
    /// None ever will: too many have failed.
    Stop,
}

impl Pacing {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// The first field that cannot be so.
    pub fn check(&self) -> Result<(), Violation> {
        let range = |field: &str, value: Option<u32>| match value {
            Some(value) if !(1..=MAX_LIMIT).contains(&value) => {
                Err(Violation::invalid(field, format!("it must be from 1 to {MAX_LIMIT}")))
            }
            _ => Ok(()),
        };
        range("pacing.limit", self.limit)?;
        range("pacing.ramp_start", self.ramp_start)?;
        if let (Some(limit), Some(start)) = (self.limit, self.ramp_start)
            && start > limit
        {
            let message = format!("it is {start}, more than the limit, {limit}");
            return Err(Violation::invalid("pacing.ramp_start", message));
        }
        if let Some(Share::Percent(101..)) = self.max_failures {
            return Err(Violation::invalid("pacing.max_failure_percent", "it must be from 0 to 100"));
        }
        match &self.order_by_label {
            Some(label) if !is_key(label) => Err(Violation::invalid(
                "pacing.order_by_label",
                format!("{label:?} is not the key of a label"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether an operation with these commands has failed too often.
    #[must_use]
    pub fn is_spent(&self, counts: &Counts) -> bool {
        let failures = counts.failures() as usize;
        self.max_failures.is_some_and(|borne| failures > borne.of(counts.total() as usize))
    }

    /// How many may be in flight after so many have succeeded. At least one.
    #[must_use]
    pub fn width(&self, succeeded: u32) -> u32 {
        let limit = self.limit.unwrap_or(u32::MAX).max(1);
        let Some(start) = self.ramp_start else { return limit };
        let (mut width, mut needed) = (start.clamp(1, limit), 0_u32);
        while width < limit {
            needed = needed.saturating_add(width);
            if succeeded < needed {
                break;
            }
            width = width.saturating_mul(2).min(limit);
        }
        width
    }
}

/// What may go out of an operation now.
#[must_use]
pub fn decide(
    pacing: &Pacing,
    counts: &Counts,
    rooms: &[Room],
    not_before: Option<UnixMillis>,
    now: UnixMillis,
) -> Step {
    if pacing.is_spent(counts) {
        return Step::Stop;
    }
    if let Some(at) = not_before.filter(|at| now < *at) {
        return Step::Hold(Hold::NotBefore(at));
    }
    let (width, in_flight) = (pacing.width(counts.get(State::Succeeded)), counts.in_flight());
    if in_flight >= width {
        let is_ramp = pacing.limit.is_none_or(|limit| width < limit);
        return Step::Hold(if is_ramp { Hold::Ramp } else { Hold::Limit });
    }
    let mut free = width - in_flight;
    for room in rooms {
        let places = room.limit.saturating_sub(room.taken);
        if places == 0 {
            return Step::Hold(Hold::Lease(room.lease.clone()));
        }
        free = free.min(places);
    }
    Step::HandOut(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn counts(pairs: &[(State, u32)]) -> Counts {
        let mut counts = Counts::default();
        pairs.iter().for_each(|(state, count)| counts.add(*state, *count));
        counts
    }

    fn room(limit: u32, taken: u32) -> Room {
        Room { lease: "reboots".to_owned(), limit, taken }
    }

    #[test]
    fn a_ramp_doubles_each_time_that_as_many_have_succeeded() {
        let pacing = Pacing { limit: Some(10), ramp_start: Some(1), ..Pacing::default() };
        let widths: Vec<u32> = [0, 1, 2, 3, 6, 7, 14, 15, 1000].map(|n| pacing.width(n)).to_vec();
        assert_eq!(widths, [1, 2, 2, 4, 4, 8, 8, 10, 10]);
        let endless = Pacing { ramp_start: Some(3), ..Pacing::default() };
        assert_eq!([0, 2, 3, 9, u32::MAX].map(|n| endless.width(n))[..4], [3, 3, 6, 12]);
        assert_eq!(Pacing::default().width(0), u32::MAX);
    }

    #[test]
    fn what_holds_an_operation_is_named() {
        let pacing = Pacing { limit: Some(4), ramp_start: Some(2), ..Pacing::default() };
        let two = counts(&[(State::Queued, 9), (State::Delivered, 1), (State::Running, 1)]);
        assert_eq!(decide(&pacing, &two, &[], None, NOW), Step::Hold(Hold::Ramp));
        let four = counts(&[(State::Queued, 9), (State::Running, 4), (State::Succeeded, 2)]);
        assert_eq!(decide(&pacing, &four, &[], None, NOW), Step::Hold(Hold::Limit));
        let one = counts(&[(State::Queued, 9), (State::Running, 1), (State::Succeeded, 2)]);
        assert_eq!(decide(&pacing, &one, &[], None, NOW), Step::HandOut(3));
        assert_eq!(decide(&pacing, &one, &[room(7, 5)], None, NOW), Step::HandOut(2));
        let taken = Step::Hold(Hold::Lease("reboots".to_owned()));
        assert_eq!(decide(&pacing, &one, &[room(5, 7)], None, NOW), taken, "lowered below what is in flight");
        let later = Some(UnixMillis(NOW.0 + 1));
        assert_eq!(
            decide(&pacing, &one, &[room(5, 7)], later, NOW),
            Step::Hold(Hold::NotBefore(UnixMillis(NOW.0 + 1)))
        );
        assert_eq!(decide(&pacing, &one, &[], Some(NOW), NOW), Step::HandOut(3));
    }

    #[test]
    fn only_what_failed_counts_against_the_budget() {
        let pacing = Pacing { max_failures: Some(Share::Percent(20)), ..Pacing::default() };
        let harmless =
            [(State::Expired, 3), (State::Denied, 3), (State::Cancelled, 2), (State::Succeeded, 1)];
        let failed = [(State::Failed, 1), (State::TimedOut, 1), (State::Interrupted, 1)];
        let mut all = counts(&harmless);
        assert!(!pacing.is_spent(&all));
        failed.iter().for_each(|(state, count)| all.add(*state, *count));
        assert!(pacing.is_spent(&all), "three of twelve, where two are borne");
        assert_eq!(decide(&pacing, &all, &[room(1, 1)], None, NOW), Step::Stop);
        let none = Pacing { max_failures: Some(Share::Count(0)), ..Pacing::default() };
        assert!(!none.is_spent(&counts(&harmless)) && none.is_spent(&counts(&failed[..1])));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let field = |pacing: Pacing| pacing.check().err().map(|it| it.field);
        let fine = Pacing {
            limit: Some(MAX_LIMIT),
            ramp_start: Some(1),
            max_failures: Some(Share::Percent(100)),
            order_by_label: Some("example.com/rack".to_owned()),
        };
        assert_eq!(field(fine.clone()), None);
        let refused = |pacing| field(pacing).unwrap();
        assert_eq!(refused(Pacing { limit: Some(MAX_LIMIT + 1), ..fine.clone() }), "pacing.limit");
        assert_eq!(
            refused(Pacing { limit: Some(2), ramp_start: Some(3), ..fine.clone() }),
            "pacing.ramp_start"
        );
        let percent = Some(Share::Percent(101));
        assert_eq!(refused(Pacing { max_failures: percent, ..fine.clone() }), "pacing.max_failure_percent");
        let label = Some("no key".to_owned());
        assert_eq!(refused(Pacing { order_by_label: label, ..fine }), "pacing.order_by_label");
    }
}
