use muster_common::ids::NodeId;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn slot(number: u32, root_of: u32) -> Slot {
    let der = |what: &str, number: u32| format!("{what}{number}").into_bytes();
    Slot {
        number,
        standing: Standing::Next,
        root_of,
        root_der: der("root", root_of),
        issuing_der: der("issuing", number),
        cross_der: (root_of == number && number > 1).then(|| der("cross", number)),
        external: false,
        not_after: NOW,
        created_at: NOW,
        changed_at: NOW,
    }
}

fn standings(authority: &Authority) -> Vec<(u32, Standing)> {
    authority.slots.iter().map(|slot| (slot.number, slot.standing)).collect()
}

fn go(authority: &Authority, step: Move) -> Authority {
    authority.go(step, &Progress::default(), false, NOW).unwrap()
}

/// A whole rotation to a slot.
fn rotated(authority: &Authority, slot: Slot) -> Authority {
    let prepared = authority.prepare(slot).unwrap();
    go(&go(&prepared, Move::Activate), Move::Retire)
}

#[test]
fn a_rotation_goes_by_its_phases_and_counts_the_changes_of_trust() {
    let start = Authority::first(slot(1, 1));
    assert_eq!((start.phase(), start.bundle_version), (Phase::Steady, 1));
    let prepared = start.prepare(slot(2, 2)).unwrap();
    assert_eq!((prepared.phase(), prepared.bundle_version), (Phase::Prepared, 2));
    let activated = go(&prepared, Move::Activate);
    assert_eq!(standings(&activated), [(1, Standing::Previous), (2, Standing::Active)]);
    assert_eq!((activated.phase(), activated.bundle_version), (Phase::Activated, 2), "trust is the same");
    let retired = go(&activated, Move::Retire);
    assert_eq!(standings(&retired), [(1, Standing::Retired), (2, Standing::Active)]);
    assert_eq!((retired.phase(), retired.bundle_version), (Phase::Steady, 3));
}

#[test]
fn each_phase_but_the_last_can_be_taken_back() {
    let prepared = Authority::first(slot(1, 1)).prepare(slot(2, 2)).unwrap();
    let activated = go(&prepared, Move::Activate);
    let back = go(&activated, Move::Rollback);
    assert_eq!(standings(&back), standings(&prepared));
    assert_eq!(back.bundle_version, 2, "the set is the same in both");
    let dropped = go(&back, Move::Rollback);
    assert_eq!(standings(&dropped), [(1, Standing::Active), (2, Standing::Dropped)]);
    assert_eq!((dropped.phase(), dropped.bundle_version), (Phase::Steady, 3));
    assert_eq!(dropped.next_number(), 3, "a number is not given twice");
    assert!(dropped.prepare(slot(3, 3)).is_ok());
}

#[test]
fn a_move_out_of_turn_is_refused() {
    let steady = Authority::first(slot(1, 1));
    let prepared = steady.prepare(slot(2, 2)).unwrap();
    let activated = go(&prepared, Move::Activate);
    let refused = |authority: &Authority, step| authority.go(step, &Progress::default(), true, NOW).is_err();
    for step in [Move::Activate, Move::Rollback, Move::Retire] {
        assert!(refused(&steady, step), "{step:?}");
    }
    assert!(refused(&prepared, Move::Retire) && refused(&activated, Move::Activate));
    assert_eq!(prepared.prepare(slot(3, 3)), Err(Refused::Phase(Phase::Prepared, Move::Prepare)));
    assert!(activated.prepare(slot(3, 3)).is_err());
}

#[test]
fn nobody_is_left_behind_unless_it_is_forced() {
    let node = NodeId::from_u128(7);
    let prepared = Authority::first(slot(1, 1)).prepare(slot(2, 2)).unwrap();
    let waiting = Progress { live: 3, unacknowledged: [node].into_iter().collect(), ..Progress::default() };
    let refused = prepared.go(Move::Activate, &waiting, false, NOW).unwrap_err().to_string();
    assert!(refused.contains("1 of 3") && refused.contains(&node.to_string()), "{refused}");
    let activated = prepared.go(Move::Activate, &waiting, true, NOW).unwrap();

    let nodes = held(Holders { live: [node; 12].into_iter().collect(), ..Holders::default() });
    let refused = activated.go(Move::Retire, &nodes, false, NOW).unwrap_err().to_string();
    assert!(refused.contains("and 2 more"), "{refused}");
    let callers = held(Holders { callers: vec!["operator/alice".into()], ..Holders::default() });
    let refused = activated.go(Move::Retire, &callers, false, NOW).unwrap_err().to_string();
    assert!(refused.contains("operator/alice"), "{refused}");
    let absent = held(Holders { absent: [node].into_iter().collect(), ..Holders::default() });
    assert!(activated.go(Move::Retire, &absent, false, NOW).is_ok(), "who is away comes back by recovery");
    let gone = Progress { recovers: false, ..absent };
    let refused = activated.go(Move::Retire, &gone, false, NOW).unwrap_err().to_string();
    assert!(refused.contains("recovery is switched off"), "{refused}");
    assert!(activated.go(Move::Retire, &gone, true, NOW).is_ok());
}

#[test]
fn one_step_back_loses_nobody_and_a_second_only_who_is_forced() {
    let node = NodeId::from_u128(7);
    let prepared = Authority::first(slot(1, 1)).prepare(slot(2, 2)).unwrap();
    let activated = go(&prepared, Move::Activate);
    let some = held(Holders { live: [node].into_iter().collect(), ..Holders::default() });
    let back = activated.go(Move::Rollback, &some, false, NOW).unwrap();
    assert_eq!(back.phase(), Phase::Prepared);
    // It renewed while the slot was active.
    let refused = back.go(Move::Rollback, &some, false, NOW).unwrap_err().to_string();
    assert!(refused.contains("next issuer") && refused.contains(&node.to_string()), "{refused}");
    assert!(back.go(Move::Activate, &some, false, NOW).is_ok(), "and on again loses nobody");
    assert!(back.go(Move::Rollback, &some, true, NOW).is_ok());
    let callers = held(Holders { callers: vec!["service/ci".into()], ..Holders::default() });
    assert!(back.go(Move::Rollback, &callers, false, NOW).is_err());
    assert!(back.go(Move::Rollback, &held(Holders::default()), false, NOW).is_ok());
}

/// Certificates of the slot beside the active one, whichever that is.
fn held(holders: Holders) -> Progress {
    Progress { recovers: true, on_previous: holders.clone(), on_next: holders, ..Progress::default() }
}

#[test]
fn hosts_that_slept_through_two_roots_are_led_back() {
    let one = Authority::first(slot(1, 1));
    assert!(one.way_back().is_empty());
    // An issuing certificate alone, then two roots.
    let two = rotated(&one, slot(2, 1));
    assert!(two.way_back().is_empty());
    let three = rotated(&two, slot(3, 3));
    let four = rotated(&three, slot(4, 4));
    let way: Vec<&str> = four.way_back().into_iter().map(|der| std::str::from_utf8(der).unwrap()).collect();
    assert_eq!(way, ["cross4", "root3", "cross3", "root1"]);
}

#[test]
fn a_dropped_root_leads_nowhere() {
    let one = Authority::first(slot(1, 1));
    let dropped = go(&one.prepare(slot(2, 2)).unwrap(), Move::Rollback);
    let three = rotated(&dropped, slot(3, 3));
    let way: Vec<&str> = three.way_back().into_iter().map(|der| std::str::from_utf8(der).unwrap()).collect();
    assert_eq!(way, ["cross3", "root1"]);
}

#[test]
fn of_a_fleet_numbers_are_kept_and_the_first_names() {
    let nodes: Nodes = (0..1000).map(NodeId::from_u128).collect();
    assert_eq!((nodes.count, nodes.first.len()), (1000, KEPT));
    assert_eq!(nodes.first[..2], [0, 1].map(NodeId::from_u128));
    assert!(nodes.named().ends_with(" and 990 more"), "{}", nodes.named());
}
