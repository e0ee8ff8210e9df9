//! Liveness: every change is told, and only the silent are blamed.

use std::time::Duration;

use muster_common::clock::Clock;
use muster_domain::liveness::{self, Change, Closed, Event, Limits, State as Liveness, Tracker};
use proptest::{collection, prelude::*, sample};

fn happening() -> impl Strategy<Value = (u64, Event)> {
    let how = [
        Closed::Lost,
        Closed::Moved,
        Closed::Returning,
        Closed::Rebooting,
        Closed::Stopped,
        Closed::Disconnected,
    ];
    let what = prop_oneof![
        2 => Just(Event::Connected),
        5 => Just(Event::Heard),
        2 => sample::select(how.to_vec()).prop_map(Event::StreamClosed),
        8 => Just(Event::Tick),
        1 => Just(Event::PlaneWasAway),
        1 => Just(Event::CertificateExpired),
        1 => Just(Event::CertificateRenewed),
        1 => Just(Event::Quarantined),
        1 => Just(Event::Released),
    ];
    (0u64..30_000, what)
}

proptest! {
    #[test]
    fn liveness_tells_every_change_and_blames_only_the_silent(story in collection::vec(happening(), 1..80)) {
        let limits = Limits::from_interval(Duration::from_secs(10));
        let (mut tracker, mut now) = (Tracker::new(), Clock::default().monotonic());
        let (mut shown, mut heard) = (Liveness::NeverSeen, None);
        for (pause, what) in story {
            now += Duration::from_millis(pause);
            let before = tracker;
            let (next, change) = tracker.on(what, now, &limits);
            tracker = next;
            if let Change::To(state, reason) = change {
                prop_assert_ne!(state, shown, "a change that is none");
                prop_assert!(!reason.is_empty() && reason.chars().all(|c| c.is_ascii_alphabetic()));
                prop_assert!(liveness::WORDS.contains(&reason), "{} takes memory in each node", reason);
                shown = state;
            }
            prop_assert_eq!(tracker.state(), shown, "a change that was not told");
            match what {
                Event::Connected | Event::Heard => {
                    heard = Some(now);
                    prop_assert!(matches!(shown, Liveness::Online | Liveness::Quarantined));
                }
                Event::Tick => {
                    if before.next_deadline(&limits).is_none_or(|deadline| now < deadline) {
                        prop_assert_eq!(change, Change::Same, "a tick before its time");
                    }
                    if matches!(change, Change::To(Liveness::Offline | Liveness::Expired, _)) {
                        let silent = heard.map(|heard| now - heard);
                        prop_assert!(silent.is_none_or(|silent| silent >= limits.grace), "{:?}", silent);
                    }
                }
                Event::PlaneWasAway => {
                    prop_assert!(!matches!(change, Change::To(Liveness::Offline | Liveness::Late, _)));
                }
                _ => {}
            }
            prop_assert!(shown != Liveness::NeverSeen || heard.is_none());
        }
    }

    /// With ticks at its deadlines alone, a node that fell silent ends offline.
    #[test]
    fn silence_always_ends(story in collection::vec(happening(), 1..40)) {
        let limits = Limits::from_interval(Duration::from_secs(10));
        let (mut tracker, mut now) = (Tracker::new(), Clock::default().monotonic());
        for (pause, what) in story {
            now += Duration::from_millis(pause);
            tracker = tracker.on(what, now, &limits).0;
        }
        for _ in 0..3 {
            if let Some(deadline) = tracker.next_deadline(&limits) {
                now = now.max(deadline);
                tracker = tracker.on(Event::Tick, now, &limits).0;
            }
        }
        prop_assert_eq!(tracker.next_deadline(&limits), None);
        prop_assert!(matches!(tracker.state(), Liveness::NeverSeen | Liveness::Offline | Liveness::Expired));
    }

    #[test]
    fn a_restart_of_the_plane_makes_nobody_offline(state in liveness_state()) {
        let tracker = Tracker::restored(state, Clock::default().monotonic());
        prop_assert!(matches!(
            (state, tracker.state()),
            (Liveness::Offline, Liveness::Offline) | (Liveness::Expired, Liveness::Expired)
                | (Liveness::NeverSeen, Liveness::NeverSeen) | (_, Liveness::Unknown)
        ));
    }
}

fn liveness_state() -> impl Strategy<Value = Liveness> {
    sample::select(vec![
        Liveness::NeverSeen,
        Liveness::Online,
        Liveness::Late,
        Liveness::Offline,
        Liveness::Unknown,
        Liveness::Expired,
        Liveness::Quarantined,
    ])
}
