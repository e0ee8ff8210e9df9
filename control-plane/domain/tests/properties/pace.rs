//! Pacing: no limit is passed, a spent budget stops everything, and nothing stands still
//! that could go on.

use muster_common::clock::UnixMillis;
use muster_domain::{
    command::State,
    operation::{
        Counts,
        pace::{Hold, Pacing, Room, Step, decide},
    },
    rollout::Share,
};
use proptest::{collection, option, prelude::*, sample};

const NOW: UnixMillis = UnixMillis(1_000);

fn pacing() -> impl Strategy<Value = Pacing> {
    let share = prop_oneof![(0u32..6).prop_map(Share::Count), (0u8..=100).prop_map(Share::Percent)];
    (option::of(1u32..12), option::of(1u32..12), option::of(share)).prop_map(
        |(limit, start, max_failures)| {
            let ramp_start = start.map(|start| start.min(limit.unwrap_or(u32::MAX)));
            Pacing { limit, ramp_start, max_failures, order_by_label: None }
        },
    )
}

/// How a command ends, and how much of the operation has been handed out by then.
fn ends() -> impl Strategy<Value = Vec<State>> {
    let good = sample::select([State::Succeeded, State::Denied].as_slice());
    let bad = sample::select([State::Failed, State::TimedOut, State::Interrupted].as_slice());
    collection::vec(prop_oneof![4 => good, 1 => bad], 1..80)
}

fn counts(queued: u32) -> Counts {
    let mut counts = Counts::default();
    counts.add(State::Queued, queued);
    counts
}

proptest! {
    #[test]
    fn limits_and_leases_are_never_passed_and_all_comes_to_an_end(
        pacing in pacing(),
        ends in ends(),
        places in option::of(1u32..8),
        others in 0u32..8,
    ) {
        let total = u32::try_from(ends.len()).unwrap();
        let (mut counts, mut ends, mut others) = (counts(total), ends, others);
        for _ in 0..10 * total + 100 {
            if counts.open() == 0 {
                break;
            }
            let in_flight = counts.in_flight();
            let rooms: Vec<Room> = places
                .map(|limit| Room { lease: "places".to_owned(), limit, taken: in_flight + others })
                .into_iter()
                .collect();
            match decide(&pacing, &counts, &rooms, None, NOW) {
                Step::HandOut(more) => {
                    let go = more.min(counts.get(State::Queued));
                    counts.shift(State::Queued, State::Delivered, go);
                    prop_assert!(more > 0, "it says go, and means none");
                    prop_assert!(counts.in_flight() <= pacing.limit.unwrap_or(u32::MAX));
                    prop_assert!(counts.in_flight() <= pacing.width(counts.get(State::Succeeded)));
                    for room in rooms {
                        prop_assert!(room.taken + go <= room.limit, "a lease was passed");
                    }
                }
                Step::Stop => {
                    prop_assert!(pacing.is_spent(&counts));
                    let queued = counts.get(State::Queued);
                    counts.shift(State::Queued, State::Cancelled, queued);
                }
                Step::Hold(hold) => {
                    let lease = matches!(hold, Hold::Lease(_));
                    prop_assert!(in_flight > 0 || lease && others > 0, "nobody would ever wake it");
                }
            }
            // Something ends: of its own, or of those who have the other places.
            if counts.in_flight() > 0 {
                counts.shift(State::Delivered, ends.pop().unwrap_or(State::Succeeded), 1);
            }
            others = others.saturating_sub(1);
        }
        prop_assert_eq!(counts.open(), 0, "it stands still");
        prop_assert_eq!(counts.total(), total);
    }

    #[test]
    fn a_spent_budget_lets_nothing_out(pacing in pacing(), failed in 0u32..50, queued in 1u32..50) {
        let mut counts = counts(queued);
        counts.add(State::Failed, failed);
        let step = decide(&pacing, &counts, &[], None, NOW);
        let borne = pacing.max_failures.map(|share| share.of((failed + queued) as usize));
        let is_spent = borne.is_some_and(|borne| failed as usize > borne);
        prop_assert_eq!(step == Step::Stop, is_spent);
    }

    #[test]
    fn success_never_narrows_a_ramp(pacing in pacing(), succeeded in 0u32..1000) {
        let (now, next) = (pacing.width(succeeded), pacing.width(succeeded + 1));
        prop_assert!(1 <= now && now <= next && next <= pacing.limit.unwrap_or(u32::MAX));
        prop_assert!(next <= now.saturating_mul(2));
    }
}
