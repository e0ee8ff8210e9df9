use muster_common::clock::UnixMillis;

use super::*;
use crate::plans::{engine, plan};

#[test]
fn every_way_to_ask_goes_through_an_index_and_sorts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(folder.path());
    for (driver, index) in [
        (Driver::Subject, "USING INDEX audit_by_subject (subject=? AND place>? AND place<?)"),
        (Driver::Actor, "USING INDEX audit_by_actor (actor=? AND place>? AND place<?)"),
        (Driver::Action, "USING INDEX audit_by_action (action=? AND place>? AND place<?)"),
        (Driver::Denied, "USING INDEX audit_denied (place>? AND place<?)"),
        (Driver::Replica, "USING INDEX audit_by_replica (replica=? AND place>? AND place<?)"),
        (Driver::Place, "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ] {
        for order in [Order::Oldest, Order::Newest] {
            let plan = plan(&mut engine, driver.text(order), 10);
            assert!(plan.contains(index), "{driver:?} {order:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{driver:?} {order:?}: {plan}");
        }
    }
}

/// Asked before every write, and every second by whoever signs.
#[test]
fn the_end_of_a_chain_is_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(folder.path());
    for text in [
        crate::tx::LAST_LINK,
        columns!("WHERE replica = $1 ORDER BY seq DESC LIMIT 1"),
        columns!("WHERE replica = $1 AND seq > $2 ORDER BY seq LIMIT $3"),
    ] {
        let plan = plan(&mut engine, text, text.matches('$').count());
        assert!(plan.contains("USING INDEX sqlite_autoindex_audit_1 (replica=?"), "{text}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{text}: {plan}");
    }
}

#[test]
fn the_condition_that_leaves_least_drives() {
    let given = |text: &str| text.to_owned();
    let mut filter = Filter { since: Some(UnixMillis(1)), ..Filter::default() };
    assert_eq!(Driver::of(&filter), Driver::Place);
    filter.replica = given("a");
    assert_eq!(Driver::of(&filter), Driver::Replica);
    filter.denied_only = true;
    assert_eq!(Driver::of(&filter), Driver::Denied);
    filter.action_prefix = given("n");
    assert_eq!(Driver::of(&filter), Driver::Action);
    filter.actor = given("a");
    assert_eq!(Driver::of(&filter), Driver::Actor);
    filter.subject = given("s");
    assert_eq!(Driver::of(&filter), Driver::Subject);
}
