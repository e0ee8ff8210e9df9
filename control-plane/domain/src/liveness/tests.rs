use muster_common::clock::Clock;

use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

fn limits() -> Limits {
    Limits::from_interval(INTERVAL)
}

/// A node and the time, so that tests read as a story.
struct Story {
    tracker: Tracker,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        Self { tracker: Tracker::new(), now: Clock::default().monotonic() }
    }

    fn connected() -> Self {
        let mut story = Self::new();
        assert_eq!(story.does(Event::Connected), Change::To(State::Online, "Connected"));
        story
    }

    fn does(&mut self, event: Event) -> Change {
        let (next, change) = self.tracker.on(event, self.now, &limits());
        self.tracker = next;
        change
    }

    fn after(&mut self, seconds: u64) -> Change {
        self.now += Duration::from_secs(seconds);
        self.does(Event::Tick)
    }

    fn closes(&mut self, how: Closed) -> Change {
        self.does(Event::StreamClosed(how))
    }
}

#[test]
fn limits_follow_the_interval() {
    let limits = limits();
    assert_eq!(limits.late, Duration::from_secs(15));
    assert_eq!(limits.offline, Duration::from_secs(25));
}

#[test]
fn a_silent_node_goes_late_before_offline() {
    let mut node = Story::connected();
    assert_eq!(node.after(14), Change::Same);
    assert_eq!(node.after(1), Change::To(State::Late, "HeartbeatMissed"));
    assert_eq!(node.after(9), Change::Same);
    assert_eq!(node.after(1), Change::To(State::Offline, "Silent"));
    assert_eq!(node.after(1000), Change::Same);
    assert_eq!(node.does(Event::Heard), Change::To(State::Online, "HeartbeatReceived"));
}

#[test]
fn even_the_first_tick_after_a_long_silence_says_late_first() {
    let mut node = Story::connected();
    assert_eq!(node.after(100), Change::To(State::Late, "HeartbeatMissed"));
    assert_eq!(node.after(0), Change::To(State::Offline, "Silent"));
}

#[test]
fn a_heartbeat_in_time_changes_nothing() {
    let mut node = Story::connected();
    for _ in 0..5 {
        assert_eq!(node.after(14), Change::Same);
        assert_eq!(node.does(Event::Heard), Change::Same);
    }
}

#[test]
fn a_lost_stream_is_late_at_once_and_offline_after_the_grace() {
    let mut node = Story::connected();
    assert_eq!(node.closes(Closed::Lost), Change::To(State::Late, "StreamClosed"));
    assert_eq!(node.after(14), Change::Same);
    assert_eq!(node.after(1), Change::To(State::Offline, "StreamClosed"));

    let mut node = Story::connected();
    node.closes(Closed::Lost);
    node.after(14);
    assert_eq!(node.does(Event::Connected), Change::To(State::Online, "Connected"));
    assert_eq!(node.after(14), Change::Same);
}

#[test]
fn a_goodbye_with_a_return_is_not_seen_unless_it_lasts() {
    for (how, reason) in [(Closed::Returning, "DidNotReturn"), (Closed::Rebooting, "DidNotReturnFromReboot")]
    {
        let mut node = Story::connected();
        assert_eq!(node.closes(how), Change::Same);
        assert_eq!(node.after(14), Change::Same);
        assert_eq!(node.after(1), Change::To(State::Offline, reason));
    }
}

#[test]
fn who_was_told_to_come_anew_has_as_long_as_after_an_absence_of_the_plane() {
    let mut node = Story::connected();
    assert_eq!(node.closes(Closed::Moved), Change::Same);
    assert_eq!(node.after(14), Change::Same);
    assert_eq!(node.after(1), Change::To(State::Unknown, "NotBackFromMove"));
    assert_eq!(node.after(84), Change::Same);
    assert_eq!(node.after(1), Change::To(State::Offline, "DidNotReturn"));
}

#[test]
fn who_lost_its_stream_with_many_is_unknown_after_the_grace_and_has_as_long_as_they_need() {
    let mut node = Story::connected();
    assert_eq!(node.does(Event::TickInCrowd), Change::Same, "its stream is whole");
    node.closes(Closed::Lost);
    let broke = node.tracker.broke_at();
    assert_eq!(broke, Some(node.now));
    assert_eq!(node.after(14), Change::Same);
    assert_eq!(node.does(Event::TickInCrowd), Change::Same, "it has its grace first");
    node.now += Duration::from_secs(1);
    assert_eq!(node.does(Event::TickInCrowd), Change::To(State::Unknown, "NotBackFromCrowd"));
    assert!(!is_ours("NotBackFromCrowd") && is_ours(AWAY));
    assert_eq!(node.after(84), Change::Same);
    assert_eq!(node.after(1), Change::To(State::Offline, "DidNotReturn"));

    let mut node = Story::connected();
    node.closes(Closed::Returning);
    node.now += Duration::from_secs(15);
    assert_eq!((node.tracker.broke_at(), node.does(Event::TickInCrowd)), (None, Change::Same));
}

#[test]
fn a_goodbye_for_good_is_offline_at_once() {
    for (how, reason) in [(Closed::Stopped, "AgentStopped"), (Closed::Disconnected, "Disconnected")] {
        assert_eq!(Story::connected().closes(how), Change::To(State::Offline, reason));
    }
}

#[test]
fn nobody_is_blamed_for_the_absence_of_the_plane() {
    let mut node = Story::connected();
    node.now += Duration::from_secs(3600);
    assert_eq!(node.does(Event::PlaneWasAway), Change::To(State::Unknown, "ControlPlaneAway"));
    assert_eq!(node.after(99), Change::Same);
    assert_eq!(node.does(Event::Connected), Change::To(State::Online, "Connected"));

    node.does(Event::PlaneWasAway);
    assert_eq!(node.after(100), Change::To(State::Offline, "DidNotReturn"));
    assert_eq!(node.does(Event::PlaneWasAway), Change::Same, "it was gone before");
}

#[test]
fn a_restart_of_the_plane_takes_up_what_was_stored() {
    let now = Clock::default().monotonic();
    for (stored, shown) in [
        (State::NeverSeen, State::NeverSeen),
        (State::Online, State::Unknown),
        (State::Late, State::Unknown),
        (State::Quarantined, State::Unknown),
        (State::Unknown, State::Unknown),
        (State::Offline, State::Offline),
        (State::Expired, State::Expired),
    ] {
        assert_eq!(Tracker::restored(stored, now).state(), shown, "{stored:?}");
    }
    assert_eq!(
        Tracker::restored(State::Quarantined, now).on(Event::Connected, now, &limits()).1,
        Change::To(State::Quarantined, "Connected")
    );
}

#[test]
fn a_certificate_that_ran_out_shows_once_the_node_is_gone() {
    let mut node = Story::connected();
    assert_eq!(node.does(Event::CertificateExpired), Change::Same);
    assert_eq!(node.closes(Closed::Stopped), Change::To(State::Expired, "AgentStopped"));
    assert_eq!(node.does(Event::CertificateRenewed), Change::To(State::Offline, "CertificateRenewed"));
    assert_eq!(node.does(Event::CertificateExpired), Change::To(State::Expired, "CertificateExpired"));
}

#[test]
fn quarantine_covers_what_is_connected() {
    let mut node = Story::connected();
    assert_eq!(node.does(Event::Quarantined), Change::To(State::Quarantined, "Quarantined"));
    assert_eq!(node.after(15), Change::Same);
    assert_eq!(node.after(10), Change::To(State::Offline, "Silent"));
    assert_eq!(node.does(Event::Connected), Change::To(State::Quarantined, "Connected"));
    assert_eq!(node.does(Event::Released), Change::To(State::Online, "Released"));
}

#[test]
fn no_tick_before_the_deadline_changes_anything() {
    let limits = limits();
    let mut node = Story::connected();
    let mut seen = vec![node.tracker];
    for event in [Event::Tick, Event::PlaneWasAway] {
        node.now += Duration::from_secs(15);
        node.does(event);
        seen.push(node.tracker);
    }
    node.does(Event::Connected);
    node.closes(Closed::Rebooting);
    seen.push(node.tracker);
    for tracker in seen {
        let deadline = tracker.next_deadline(&limits).expect("each of these waits for something");
        let tick = |at| tracker.on(Event::Tick, at, &limits).1;
        assert_eq!(tick(deadline - Duration::from_nanos(1)), Change::Same, "{tracker:?}");
        assert_ne!(tick(deadline), Change::Same, "{tracker:?}");
    }
    assert_eq!(Tracker::new().next_deadline(&limits), None);
}

#[test]
fn a_million_trackers_are_small() {
    assert!(size_of::<Tracker>() <= 32, "{}", size_of::<Tracker>());
}
