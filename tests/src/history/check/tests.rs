//! Each invariant holds of a sound history, and is broken by one that is not.

mod planes;

use super::*;
use crate::history::{Command, Entry, Event, Order, Outcome, Ran, Read, State, Trouble, What, Write};
use muster_common::clock::UnixMillis;
use std::time::Duration;

const KEY: &str = "node/a";

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A history of these events, each so many milliseconds after its begin.
fn of(events: Vec<(u64, What)>) -> History {
    let events = events.into_iter().map(|(millis, what)| Event { at: at(millis), what }).collect();
    History { events, heartbeat: at(1000), planes: 1 }
}

/// The invariants that a history breaks.
fn broken(events: Vec<(u64, What)>) -> Vec<&'static str> {
    let verdicts = judge(&of(events));
    verdicts.iter().filter(|verdict| !verdict.broken.is_empty()).map(|verdict| verdict.name).collect()
}

fn write(begun: u64, value: &str, outcome: Outcome) -> Write {
    Write { begun: at(begun), plane: 0, key: KEY.to_owned(), value: value.to_owned(), over: None, outcome }
}

fn wrote(begun: u64, value: &str, outcome: Outcome) -> What {
    What::Write(write(begun, value, outcome))
}

fn read(begun: u64, value: &str) -> What {
    What::Read(Read { begun: at(begun), plane: 0, key: KEY.to_owned(), value: value.to_owned() })
}

fn entry(place: u64, before: &str, value: &str) -> Entry {
    Entry {
        place,
        replica: "a".to_owned(),
        seq: place,
        hash: vec![place.to_le_bytes()[0]],
        previous: vec![(place - 1).to_le_bytes()[0]],
        key: KEY.to_owned(),
        before: Some(before.to_owned()),
        value: Some(value.to_owned()),
    }
}

fn on_record(place: u64, before: &str, value: &str) -> (u64, What) {
    (9_000, What::Entry(entry(place, before, value)))
}

fn order(outcome: Outcome) -> What {
    What::Order(Order {
        request: "order-1".to_owned(),
        operation: if outcome == Outcome::Acknowledged { "o".to_owned() } else { String::new() },
        nodes: 1,
        exit: 3,
        prints: b"done\n".to_vec(),
        deliver_by: Some(UnixMillis(10_000)),
        outcome,
    })
}

fn made(operation: &str, commands: usize) -> (u64, What) {
    (8_000, What::Made { request: "order-1".to_owned(), operation: operation.to_owned(), commands })
}

fn told(state: State, exit: Option<i32>, stdout: &str) -> (u64, What) {
    let (id, operation, stdout) = ("c".to_owned(), "o".to_owned(), stdout.as_bytes().to_vec());
    (8_500, What::Command(Command { id, operation, state, exit, stdout }))
}

fn ran(started: &[i64], ended: usize) -> (u64, What) {
    let started = started.iter().map(|at| UnixMillis(*at)).collect();
    (8_600, What::Ran(Ran { id: "c".to_owned(), started, ended }))
}

fn operation_on_record() -> (u64, What) {
    let of_it = Entry { key: "operation/o".to_owned(), before: None, value: None, ..entry(1, "", "") };
    (9_000, What::Entry(of_it))
}

/// An order that was done on its one host, and all that is known of it.
fn done() -> Vec<(u64, What)> {
    vec![
        (100, order(Outcome::Acknowledged)),
        made("o", 1),
        told(State::Ended, Some(3), "done\n"),
        ran(&[9_000], 1),
        operation_on_record(),
    ]
}

/// The same with something else in the place of one of it.
fn done_but(place: usize, other: (u64, What)) -> Vec<(u64, What)> {
    let mut events = done();
    events[place] = other;
    events
}

#[test]
fn a_sound_history_breaks_nothing() {
    let events = vec![
        (100, wrote(0, "1", Outcome::Acknowledged)),
        (200, read(110, "1")),
        (300, wrote(210, "2", Outcome::Unknown)),
        (400, wrote(310, "3", Outcome::Unknown)),
        (500, wrote(410, "4", Outcome::Refused)),
        // What had no answer may come late, or never.
        (700, read(600, "3")),
        on_record(1, "0", "1"),
        on_record(2, "1", "3"),
    ];
    assert_eq!(broken(events), Vec::<&str>::new());
    assert_eq!(broken(done()), Vec::<&str>::new());
}

#[test]
fn a_reading_that_is_older_than_what_was_acknowledged_breaks_the_first() {
    let record = [on_record(1, "0", "1"), on_record(2, "1", "2")];
    let with = |events: Vec<(u64, What)>| broken(events.into_iter().chain(record.clone()).collect());
    let written =
        || vec![(100, wrote(0, "1", Outcome::Acknowledged)), (200, wrote(110, "2", Outcome::Acknowledged))];
    let then = |event| written().into_iter().chain([event]).collect();
    assert_eq!(with(then((300, read(150, "1")))), Vec::<&str>::new(), "it began before that");
    assert_eq!(with(then((300, read(250, "1")))), ["I1"]);
    assert_eq!(with(then((300, read(250, "0")))), ["I1"], "nor is what was there before all");
    assert_eq!(with(then((300, read(250, "5")))), ["I1"], "nobody has written that");
    assert_eq!(with(then((105, read(102, "2")))), ["I1"], "it was not written yet");
    let mut back = vec![(100, wrote(0, "1", Outcome::Unknown)), (200, wrote(110, "2", Outcome::Unknown))];
    back.extend([(300, read(250, "2")), (400, read(350, "1"))]);
    assert_eq!(with(back), ["I1"], "a second reading goes back");
}

#[test]
fn a_loser_that_appears_and_an_order_against_time_break_the_second() {
    let refused = |seen: Vec<(u64, What)>| {
        let mut events = vec![(100, wrote(0, "1", Outcome::Refused))];
        events.extend(seen);
        broken(events)
    };
    assert_eq!(refused(vec![on_record(1, "0", "1")]), ["I2"]);
    assert!(refused(vec![(300, read(250, "1"))]).contains(&"I2"));
    let acknowledged =
        || vec![(100, wrote(0, "1", Outcome::Acknowledged)), (200, wrote(110, "2", Outcome::Acknowledged))];
    let against: Vec<_> =
        acknowledged().into_iter().chain([on_record(1, "0", "2"), on_record(2, "2", "1")]).collect();
    assert_eq!(broken(against), ["I2"]);
    let twice: Vec<_> =
        acknowledged().into_iter().chain([on_record(2, "0", "1"), on_record(2, "1", "2")]).collect();
    assert!(broken(twice).contains(&"I2"), "no place is given twice");
    let race = Write { over: Some("0".to_owned()), ..write(110, "2", Outcome::Acknowledged) };
    let events = vec![
        (100, wrote(0, "1", Outcome::Acknowledged)),
        (200, What::Write(race)),
        on_record(1, "0", "1"),
        on_record(2, "1", "2"),
    ];
    assert_eq!(broken(events), ["I2"], "it came in the place of another value");
}

#[test]
fn a_host_that_goes_back_breaks_the_third() {
    let applied = |value: &str| {
        let (node, key) = ("a".to_owned(), KEY.to_owned());
        (8_000, What::Applied { node, key, value: value.to_owned() })
    };
    let with = |first, second| {
        broken(vec![
            (100, wrote(0, "1", Outcome::Acknowledged)),
            (200, wrote(110, "2", Outcome::Acknowledged)),
            applied(first),
            applied(second),
            on_record(1, "0", "1"),
            on_record(2, "1", "2"),
        ])
    };
    assert_eq!(with("1", "2"), Vec::<&str>::new());
    assert_eq!(with("2", "1"), ["I3"]);
    assert_eq!(with("1", "7"), ["I3"], "nobody said that");
}

#[test]
fn a_live_node_that_is_not_as_it_should_be_breaks_the_fourth() {
    let live = || (1_000, What::Live { node: "a".to_owned() });
    let in_sync = |at, value: &str| {
        let (node, key) = ("a".to_owned(), KEY.to_owned());
        (at, What::InSync { node, key, value: value.to_owned() })
    };
    let with = |more: Vec<(u64, What)>| {
        let mut events = vec![(100, wrote(0, "1", Outcome::Acknowledged)), live()];
        events.extend(more);
        events.push(on_record(1, "0", "1"));
        broken(events)
    };
    assert_eq!(with(vec![in_sync(2_000, "1")]), Vec::<&str>::new());
    assert_eq!(with(vec![in_sync(9_000, "1")]), ["I4"], "too late");
    assert_eq!(with(vec![in_sync(2_000, "0")]), ["I4"], "its files are others");
    assert_eq!(with(vec![]), ["I4"], "never");
}

#[test]
fn a_second_start_and_a_late_one_break_the_fifth_and_the_sixth() {
    assert_eq!(broken(done_but(3, ran(&[9_000, 9_100], 1))), ["I5"]);
    assert_eq!(broken(done_but(3, ran(&[11_000], 1))), Vec::<&str>::new(), "clocks differ a little");
    assert_eq!(broken(done_but(3, ran(&[12_000], 1))), ["I6"]);
}

#[test]
fn a_command_without_an_end_or_with_two_breaks_the_seventh() {
    assert!(broken(done_but(2, told(State::Running, None, ""))).contains(&"I7"));
    let mut events = done();
    events.insert(2, told(State::Interrupted, None, ""));
    assert_eq!(broken(events), ["I7"], "it had ended otherwise before");
    let mut events = done();
    events.remove(2);
    assert!(broken(events).contains(&"I7"), "nothing is told of it");
}

#[test]
fn a_result_that_is_lost_or_is_another_breaks_the_eighth() {
    assert_eq!(broken(done_but(2, told(State::Ended, Some(0), "done\n"))), ["I8"]);
    assert_eq!(broken(done_but(2, told(State::Ended, Some(3), "done\ndone\n"))), ["I8"]);
    assert_eq!(broken(done_but(2, told(State::Interrupted, None, ""))), ["I8"], "its host has ended it");
    assert_eq!(broken(done_but(2, told(State::NotStarted, None, ""))), ["I8"]);
    assert_eq!(broken(done_but(3, ran(&[], 0))), ["I8"], "its host knows nothing of it");
}

#[test]
fn a_change_that_is_not_on_record_and_a_cut_chain_break_the_ninth() {
    assert_eq!(broken(vec![(100, wrote(0, "1", Outcome::Acknowledged))]), ["I9"]);
    let mut events = done();
    events.pop();
    assert_eq!(broken(events), ["I9"], "an order that is not on record");
    let changed = Entry { previous: vec![9], ..entry(2, "1", "2") };
    let gap = Entry { seq: 3, ..entry(2, "1", "2") };
    for second in [changed, gap] {
        let written = |value, begun| (begun + 50, wrote(begun, value, Outcome::Acknowledged));
        let events =
            vec![written("1", 0), written("2", 100), on_record(1, "0", "1"), (9_000, What::Entry(second))];
        assert_eq!(broken(events), ["I9"]);
    }
    assert_eq!(broken(vec![(1, What::Chains { hold: false, said: "no".to_owned() })]), ["I9"]);
}

#[test]
fn a_barred_node_that_is_taken_in_breaks_the_tenth() {
    let barred = || (1_000, What::Barred { plane: 0, node: "a".to_owned() });
    let welcomed = |at, node: &str| (at, What::Welcomed { plane: 0, node: node.to_owned() });
    let session = |at, session: &str| {
        (at, What::Session { plane: 0, node: "a".to_owned(), session: session.to_owned() })
    };
    assert_eq!(broken(vec![barred(), welcomed(2_500, "a"), session(2_900, "s")]), Vec::<&str>::new());
    assert_eq!(broken(vec![barred(), welcomed(3_500, "b"), session(3_500, "")]), Vec::<&str>::new());
    assert_eq!(broken(vec![barred(), welcomed(3_500, "a")]), ["I10"]);
    assert_eq!(broken(vec![barred(), session(3_500, "s")]), ["I10"]);
}

#[test]
fn a_watcher_that_misses_something_or_hears_it_twice_breaks_the_eleventh() {
    let fed =
        |place: u64| (500, What::Fed { watcher: 0, plane: 0, place, hash: vec![place.to_le_bytes()[0]] });
    let with = |places: &[u64]| {
        let mut events: Vec<_> = places.iter().map(|place| fed(*place)).collect();
        events.extend((1..=3).map(|place| {
            let of_it = Entry { before: None, value: None, ..entry(place, "", "") };
            (9_000, What::Entry(of_it))
        }));
        broken(events)
    };
    assert_eq!(with(&[1, 2, 3]), Vec::<&str>::new());
    assert_eq!(with(&[1, 3]), ["I11"]);
    assert_eq!(with(&[1, 2, 2, 3]), ["I11"]);
    assert_eq!(with(&[2, 1, 3]), ["I11"]);
}

#[test]
fn a_watcher_of_the_fleet_that_is_sent_an_older_value_or_not_the_last_breaks_the_eleventh() {
    let with = |values: &[&str]| {
        let shown =
            |value: &&str| (500, What::Shown { plane: 0, key: KEY.to_owned(), value: (*value).to_owned() });
        let mut events: Vec<_> = values.iter().map(shown).collect();
        events.extend([(100, wrote(0, "1", Outcome::Unknown)), (200, wrote(110, "2", Outcome::Unknown))]);
        events.extend([on_record(1, "0", "1"), on_record(2, "1", "2")]);
        broken(events)
    };
    assert_eq!(with(&["0", "1", "1", "2"]), Vec::<&str>::new(), "the same may come twice");
    assert_eq!(with(&["0", "2"]), Vec::<&str>::new(), "it is sent as it is, not as it was");
    assert_eq!(with(&["2", "1", "2"]), ["I11"]);
    assert_eq!(with(&["0", "1"]), ["I11"], "never the last");
    assert_eq!(with(&["half of 2", "2"]), ["I11"], "nobody wrote that");
}

#[test]
fn what_had_no_answer_and_was_done_twice_or_by_half_breaks_the_twelfth() {
    let unknown = || (100, wrote(0, "1", Outcome::Unknown));
    assert_eq!(broken(vec![unknown(), on_record(1, "0", "1")]), Vec::<&str>::new());
    assert_eq!(
        broken(vec![unknown(), on_record(1, "0", "1"), on_record(2, "1", "1")]),
        ["I12"],
        "it was done twice"
    );
    assert_eq!(
        broken(vec![unknown(), on_record(1, "0", "1"), on_record(2, "1", "half of 2")]),
        ["I12"],
        "nobody wrote that"
    );
    let asked = |made: Vec<(u64, What)>| {
        let mut events = vec![(100, order(Outcome::Unknown))];
        events.extend(made);
        broken(events).contains(&"I12")
    };
    assert!(!asked(vec![]) && !asked(vec![made("o", 1)]));
    assert!(asked(vec![made("o", 1), made("p", 1)]), "one request has made two");
    assert!(asked(vec![made("o", 0)]), "it is for none of its nodes");
}

#[test]
fn a_node_that_is_called_offline_for_nothing_is_told() {
    let offline = |at, node: &str| {
        (at, What::Liveness { plane: 0, node: node.to_owned(), state: "offline".to_owned() })
    };
    let trouble = || Trouble {
        from: at(1_000),
        what: "silent drop".to_owned(),
        nodes: vec!["a".to_owned()],
        of: vec![],
        planes: vec![],
    };
    let with = |told| broken(vec![told, (3_000, What::Trouble(trouble()))]);
    assert_eq!(with(offline(2_500, "a")), Vec::<&str>::new());
    assert_eq!(with(offline(4_000, "a")), Vec::<&str>::new(), "what was lost is sent again later");
    assert_eq!(with(offline(500, "a")), ["L"]);
    assert_eq!(with(offline(2_500, "b")), ["L"]);
    assert_eq!(with(offline(30_000, "a")), ["L"]);
}

#[test]
fn an_invariant_of_which_nothing_was_seen_says_so() {
    assert!(judge(&History::default()).iter().all(|verdict| verdict.looked_at == 0));
}
