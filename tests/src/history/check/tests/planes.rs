//! What must hold between control planes.

use super::*;

/// The invariants that a history of three control planes breaks.
fn broken_of_three(events: Vec<(u64, What)>) -> Vec<&'static str> {
    let verdicts = judge(&History { planes: 3, ..of(events) });
    verdicts.iter().filter(|verdict| !verdict.broken.is_empty()).map(|verdict| verdict.name).collect()
}

fn looked_at(name: &str, events: Vec<(u64, What)>) -> usize {
    let verdicts = judge(&History { planes: 3, ..of(events) });
    verdicts.iter().find(|verdict| verdict.name == name).map_or(0, |verdict| verdict.looked_at)
}

/// A control plane was parted from the database.
fn parted(plane: usize, from: u64, over: u64) -> (u64, What) {
    let what = "silent drop".to_owned();
    (over, What::Trouble(Trouble { from: at(from), what, nodes: vec![], of: vec![], planes: vec![plane] }))
}

fn read_of(plane: usize, begun: u64, value: &str) -> (u64, What) {
    (begun + 50, What::Read(Read { begun: at(begun), plane, key: KEY.to_owned(), value: value.to_owned() }))
}

#[test]
fn another_control_plane_that_still_shows_what_was_before_breaks_the_first_between_them() {
    let with = |more: Vec<(u64, What)>| {
        let mut events = vec![(100, wrote(0, "1", Outcome::Acknowledged)), on_record(1, "0", "1")];
        events.extend(more);
        broken_of_three(events)
    };
    assert_eq!(with(vec![read_of(1, 3_000, "0")]), Vec::<&str>::new(), "it may take a moment");
    assert_eq!(with(vec![read_of(1, 3_200, "1")]), Vec::<&str>::new());
    assert_eq!(with(vec![read_of(1, 3_200, "0")]), ["I1 elsewhere"]);
    assert_eq!(with(vec![read_of(0, 200, "0")]), ["I1"], "the one that acknowledged it shows it at once");
    assert_eq!(with(vec![read_of(1, 200, "1"), read_of(1, 300, "0")]), ["I1"], "nor does one go back");
    // Who is parted from the database knows what was acknowledged before that.
    assert_eq!(with(vec![parted(1, 50, 5_000), read_of(1, 4_000, "0")]), Vec::<&str>::new());
    assert_eq!(with(vec![parted(1, 50, 5_000), read_of(1, 12_800, "0")]), Vec::<&str>::new());
    assert_eq!(with(vec![parted(1, 50, 5_000), read_of(1, 16_100, "0")]), ["I1 elsewhere"], "it is back");
    assert_eq!(with(vec![parted(1, 3_200, 5_000), read_of(1, 4_000, "0")]), ["I1 elsewhere"]);
    assert_eq!(with(vec![parted(2, 50, 5_000), read_of(1, 4_000, "0")]), ["I1 elsewhere"], "another one is");
    let twice = vec![parted(1, 50, 5_000), parted(1, 9_000, 9_500), read_of(1, 12_900, "0")];
    assert_eq!(with(twice), Vec::<&str>::new(), "it had not come back between them for sure");
}

#[test]
fn a_barred_node_that_another_control_plane_takes_in_breaks_the_tenth_between_them() {
    let welcomed = |at, plane| (at, What::Welcomed { plane, node: "a".to_owned() });
    let with = |more: Vec<(u64, What)>| {
        let mut events = vec![(1_000, What::Barred { plane: 0, node: "a".to_owned() })];
        events.extend(more);
        broken_of_three(events)
    };
    assert_eq!(with(vec![welcomed(2_500, 1)]), Vec::<&str>::new());
    assert_eq!(with(vec![welcomed(3_500, 1)]), ["I10 elsewhere"]);
    assert_eq!(with(vec![welcomed(3_500, 0)]), ["I10"]);
    let session = What::Session { plane: 2, node: "a".to_owned(), session: "s".to_owned() };
    assert_eq!(with(vec![(3_500, session)]), ["I10 elsewhere"]);
    // Who cannot read that it is barred takes it in until it can.
    assert_eq!(with(vec![parted(1, 500, 4_000), welcomed(3_500, 1)]), Vec::<&str>::new());
    assert_eq!(with(vec![parted(1, 500, 4_000), welcomed(13_600, 1)]), ["I10 elsewhere"]);
    let excused = vec![
        (1_000, What::Barred { plane: 0, node: "a".to_owned() }),
        parted(1, 500, 4_000),
        welcomed(3_500, 1),
    ];
    assert_eq!(looked_at("I10 elsewhere", excused), 0, "and what it may do proves nothing");
}

#[test]
fn a_watch_that_another_control_plane_does_not_go_on_with_breaks_the_eleventh_between_them() {
    let with = |sent: &[(usize, u64)]| {
        let fed = |&(plane, place): &(usize, u64)| {
            (500, What::Fed { watcher: 0, plane, place, hash: vec![place.to_le_bytes()[0]] })
        };
        let mut events: Vec<_> = sent.iter().map(fed).collect();
        events.extend((1..=4).map(|place| {
            let of_it = Entry { before: None, value: None, ..entry(place, "", "") };
            (9_000, What::Entry(of_it))
        }));
        (broken_of_three(events.clone()), looked_at("I11 elsewhere", events))
    };
    assert_eq!(with(&[(0, 1), (0, 2), (1, 3), (2, 4)]), (vec![], 2));
    assert_eq!(with(&[(0, 1), (0, 2), (0, 3)]), (vec![], 0), "it stayed where it was");
    assert_eq!(with(&[(0, 3), (0, 4), (1, 5)]), (vec![], 0), "that is on no record");
    assert_eq!(with(&[(0, 1), (1, 3)]).0, ["I11", "I11 elsewhere"], "a gap");
    assert_eq!(with(&[(0, 1), (0, 2), (1, 2), (1, 3)]).0, ["I11", "I11 elsewhere"], "twice");
    assert_eq!(with(&[(0, 2), (1, 1), (1, 3)]).0, ["I11", "I11 elsewhere"], "back");
}

fn held(millis: u64, by: usize, node: &str) -> (u64, What) {
    (millis, What::Held { by, node: node.to_owned() })
}

fn called(millis: u64, node: &str, state: &str) -> (u64, What) {
    (millis, What::Liveness { plane: 0, node: node.to_owned(), state: state.to_owned() })
}

#[test]
fn trouble_of_a_control_plane_excuses_its_own_nodes_and_no_others() {
    // From 10 to 12 s; by what was lost until 20 s, of a node that beats every second.
    let of_second = || {
        let what = "silent drop".to_owned();
        (
            12_000,
            What::Trouble(Trouble { from: at(10_000), what, nodes: vec![], of: vec![1], planes: vec![] }),
        )
    };
    let with = |events: Vec<(u64, What)>| broken([events, vec![of_second()]].concat());
    let offline = called(13_000, "a", "offline");
    assert_eq!(with(vec![held(0, 1, "a"), offline.clone()]), Vec::<&str>::new());
    assert_eq!(with(vec![held(0, 0, "a"), offline.clone()]), ["L"], "it is another one's");
    assert_eq!(with(vec![held(0, 0, "a"), held(11_000, 1, "a"), offline.clone()]), Vec::<&str>::new());
    assert_eq!(with(vec![held(0, 1, "a"), held(2_000, 0, "a"), offline]), ["L"], "it had left it");
}

#[test]
fn only_time_without_trouble_shows_that_nobody_is_called_offline_for_nothing() {
    let facts = |events: Vec<(u64, What)>| {
        let verdicts = judge(&of(events));
        verdicts.iter().find(|verdict| verdict.name == "L").map_or(0, |verdict| verdict.looked_at)
    };
    let trouble = |nodes: &[&str]| {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        let what = "silent drop".to_owned();
        (12_000, What::Trouble(Trouble { from: at(10_000), what, nodes, of: vec![], planes: vec![] }))
    };
    let seen = || vec![called(0, "a", "online"), called(0, "b", "online"), called(30_000, "a", "late")];
    assert_eq!(facts(vec![]), 0);
    assert_eq!(facts(seen()), 60, "thirty seconds of two nodes");
    assert_eq!(facts([seen(), vec![trouble(&["a"])]].concat()), 50, "ten of them are excused");
    assert_eq!(facts([seen(), vec![trouble(&["a", "b"]), trouble(&["a"])]].concat()), 40);
    assert_eq!(facts([seen(), vec![called(5_000, "b", "offline")]].concat()), 61);
}
