//! Rollouts, and what they have given to nodes.

use std::time::Duration;

use muster_common::ids::{NodeId, RolloutId};
use muster_domain::{
    assignment::{Target, Touch},
    item::ItemName,
    rollout::{Brake, Phase, Rollout, Speed, Traced},
};
use muster_store::{ReadNodes as _, ReadRollouts as _, WriteNodes as _, WriteRollouts as _};

use crate::{
    harness::{Database, NOW, pages, read, write},
    samples::node,
};

fn rollout(number: u128) -> Rollout {
    Rollout {
        id: RolloutId::from_u128(number),
        assignment: "web".to_owned(),
        from: None,
        to: Some(Target::Bundle { name: "web".to_owned(), version: 2 }),
        plan: Speed::Careful.plan(),
        phase: Phase::Running,
        reason: "Started".to_owned(),
        message: String::new(),
        step: 0,
        settled_at: None,
        approved: 0,
        created_at: NOW,
        created_by: "operator/alice".to_owned(),
        since: NOW,
        end: None,
        traced: Some(Traced { traceparent: "00-trace-span-01".to_owned(), step_since: NOW }),
        revision: 0,
    }
}

pub(crate) fn rollouts_come_back_and_a_request_makes_one(database: &impl Database) {
    let store = database.open();
    let revision = write(&store, |tx| tx.rollout_insert(&rollout(1), Some("r"))).revision;
    write(&store, |tx| tx.rollout_insert(&rollout(2), None));
    let first = Rollout { revision, ..rollout(1) };
    assert_eq!(read(&store, |tx| tx.rollout_get(RolloutId::from_u128(1))), Some(first.clone()));
    assert_eq!(read(&store, |tx| tx.rollout_by_request("operator/alice", "r")), Some(first));
    assert_eq!(read(&store, |tx| tx.rollout_by_request("operator/bob", "r")), None);
    let ended = rollout(2).moved(Phase::Aborted, "ByOperator", String::new(), NOW + Duration::from_secs(1));
    write(&store, move |tx| tx.rollout_update(&ended));
    let ids = |listed: Vec<Rollout>| listed.into_iter().map(|it| it.id).collect::<Vec<_>>();
    let (one, two) = (RolloutId::from_u128(1), RolloutId::from_u128(2));
    assert_eq!(ids(read(&store, |tx| tx.rollout_open_all())), [one]);
    assert_eq!(ids(read(&store, |tx| tx.rollout_over_last(9))), [two]);
    assert_eq!(ids(pages(1, |page| read(&store, move |tx| tx.rollout_list(&page, None)))), [two, one]);
    assert_eq!(ids(pages(1, |page| read(&store, move |tx| tx.rollout_list(&page, Some("web"))))), [two, one]);
    assert_eq!(ids(pages(1, |page| read(&store, move |tx| tx.rollout_list(&page, Some("db"))))), []);
}

pub(crate) fn a_node_has_one_touch_by_each_assignment_and_loses_it_with_itself(database: &impl Database) {
    let store = database.open();
    let (id, other) = (node(1).id, node(2).id);
    write(&store, |tx| {
        tx.node_insert(&node(1))?;
        tx.node_insert(&node(2))
    });
    let touch = |rollout, assignment: &str| Touch {
        assignment: assignment.to_owned(),
        rollout: RolloutId::from_u128(rollout),
        item: ItemName::Settings,
        gives: Some(Target::Settings { profile: "a".to_owned(), version: 2 }),
        before: None,
        at: NOW,
        revision: 0,
    };
    let (first, second, elsewhere) = (touch(1, "a"), touch(2, "a"), touch(1, "b"));
    let puts = [(id, first), (other, elsewhere.clone()), (id, second.clone()), (id, elsewhere.clone())];
    let mut revision = 0;
    for (node, touch) in puts {
        let put = write(&store, move |tx| tx.touch_put(node, &touch));
        assert!(put.value);
        revision = put.revision;
    }
    let nobody = NodeId::from_u128(99);
    let touch = elsewhere.clone();
    assert!(!write(&store, move |tx| tx.touch_put(nobody, &touch)).value);
    let of = |id| read(&store, move |tx| tx.node_get(id)).unwrap().touches;
    let expected = [Touch { revision: revision - 1, ..second }, Touch { revision, ..elsewhere.clone() }];
    assert_eq!(of(id), expected);
    assert_eq!(read(&store, |tx| tx.node_all())[0].touches, expected);
    // Neither assignment is there: nothing of it says anything.
    assert_eq!(write(&store, |tx| tx.touches_prune(1)).value, 1);
    assert_eq!(write(&store, |tx| tx.touches_prune(9)).value, 2);
    assert_eq!((of(id), of(other)), (vec![], vec![]));
    assert_eq!(write(&store, |tx| tx.touches_prune(9)).value, 0);
    let touch = elsewhere;
    write(&store, move |tx| tx.touch_put(id, &touch));
    write(&store, move |tx| tx.node_delete(id).map(drop));
    assert_eq!(write(&store, |tx| tx.touches_prune(9)).value, 0, "it went with its node");
}

pub(crate) fn the_brake_of_all_rollouts_is_pulled_and_let_go(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.rollout_brake()), None);
    let brake = Brake { by: "operator/alice".to_owned(), at: NOW, reason: "an incident".to_owned() };
    let pulled = brake.clone();
    write(&store, move |tx| tx.rollout_set_brake(Some(&pulled)));
    assert_eq!(read(&store, |tx| tx.rollout_brake()), Some(brake));
    write(&store, |tx| tx.rollout_set_brake(None));
    assert_eq!(read(&store, |tx| tx.rollout_brake()), None);
}
