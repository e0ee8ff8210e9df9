//! Operations that go about it step by step, and what they may not pass.

mod choice;
mod lab;

use std::time::Duration;

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    command::State,
    operation::{
        Plan,
        pace::{Hold, Pacing},
    },
    rollout::Share,
};

use super::bench::{alice, wish};
use crate::app::{Error, leases, operations::Wish};
use lab::Lab;

fn paced(pacing: Pacing) -> Plan {
    Plan { pacing, ..Plan::default() }
}

fn limit(limit: u32) -> Plan {
    paced(Pacing { limit: Some(limit), ..Pacing::default() })
}

fn reboots(limit: u32) -> leases::Wish {
    leases::Wish {
        name: "reboots".to_owned(),
        limit,
        kinds: vec!["run-script".to_owned()],
        description: String::new(),
        etag: String::new(),
    }
}

fn in_lease() -> Option<Hold> {
    Some(Hold::Lease("reboots".to_owned()))
}

#[tokio::test]
async fn a_ramp_lets_more_go_as_more_succeed_up_to_its_limit() {
    let lab = Lab::new(8).await;
    let pacing = Pacing { limit: Some(3), ramp_start: Some(1), ..Pacing::default() };
    let id = lab.start(paced(pacing)).await;
    let mut seen = Vec::new();
    while lab.counts(id).await.get(State::Succeeded) < 8 {
        lab.go().await;
        seen.push((lab.counts(id).await.in_flight(), lab.hold(id).await));
        lab.end_one(id, State::Succeeded).await;
    }
    let in_flight: Vec<u32> = seen.iter().map(|(count, _)| *count).collect();
    assert_eq!(in_flight, [1, 2, 2, 3, 3, 3, 2, 1]);
    assert_eq!(seen[0].1, Some(Hold::Ramp));
    assert_eq!(seen[3].1, Some(Hold::Limit));
    assert_eq!(seen[7].1, None, "all have gone out");
    assert!(lab.ended(id).await);
}

#[tokio::test]
async fn one_failure_too_many_ends_what_waits_in_the_same_write() {
    let lab = Lab::new(4).await;
    let pacing = Pacing { limit: Some(2), max_failures: Some(Share::Percent(25)), ..Pacing::default() };
    let id = lab.start(paced(pacing)).await;
    lab.go().await;
    lab.end_one(id, State::Failed).await;
    lab.go().await;
    assert_eq!(lab.counts(id).await.in_flight(), 2, "one of four may fail");
    lab.end_one(id, State::TimedOut).await;
    let counts = lab.counts(id).await;
    assert_eq!((counts.get(State::Cancelled), counts.in_flight()), (1, 1), "what runs goes on");
    let cancelled = lab.commands(id).await.into_iter().find(|it| it.state == State::Cancelled).unwrap();
    assert_eq!(cancelled.reason, Some(Reason::ErrorBudgetSpent));
    assert_eq!(cancelled.message, "2 commands of the operation failed; it bears 1");
    lab.end_one(id, State::Succeeded).await;
    assert!(lab.ended(id).await);
}

#[tokio::test]
async fn what_expired_or_was_denied_is_no_failure() {
    let lab = Lab::new(2).await;
    lab.bench.node(77).await; // never here
    let mut wish = lab.wish(paced(Pacing { max_failures: Some(Share::Count(0)), ..limit(1).pacing }));
    wish.deliver_within = Some(Duration::from_secs(60));
    let id = lab.begin(wish).await;
    lab.go().await;
    lab.end_one(id, State::Denied).await;
    lab.bench.app.clock.advance(Duration::from_secs(30));
    lab.go().await;
    assert_eq!(lab.counts(id).await.in_flight(), 1);
    lab.bench.app.clock.advance(Duration::from_secs(31));
    assert_eq!(lab.bench.app.expire_commands().await.unwrap(), 1);
    lab.end_one(id, State::Succeeded).await;
    let counts = lab.counts(id).await;
    assert_eq!([State::Denied, State::Expired, State::Succeeded].map(|it| counts.get(it)), [1, 1, 1]);
}

#[tokio::test]
async fn nodes_that_are_away_take_no_room_and_come_when_they_are_back() {
    let mut lab = Lab::new(4).await;
    let ids = lab.nodes();
    lab.leave(ids[0]);
    lab.leave(ids[1]);
    let id = lab.start(limit(1)).await;
    lab.go().await;
    assert_eq!(lab.in_flight(id).await, [ids[2]]);
    lab.end_one(id, State::Succeeded).await;
    lab.go().await;
    lab.come(ids[1]);
    lab.go().await;
    assert_eq!(lab.in_flight(id).await, [ids[3]], "there was no room");
    lab.end_one(id, State::Succeeded).await;
    lab.go().await;
    assert_eq!(lab.in_flight(id).await, [ids[1]]);
    lab.end_one(id, State::Succeeded).await;
    lab.go().await;
    assert_eq!(lab.hold(id).await, Some(Hold::NobodyOnline));
    lab.come(ids[0]);
    lab.go().await;
    assert_eq!(lab.in_flight(id).await, [ids[0]]);
}

#[tokio::test]
async fn a_lease_holds_over_all_operations_and_drains_when_it_is_lowered() {
    let lab = Lab::new(5).await;
    lab.bench.app.create_lease(&alice(), reboots(3)).await.unwrap();
    let (first, second) = (lab.start(Plan::default()).await, lab.start(Plan::default()).await);
    lab.go().await;
    let flying = async || {
        let (a, b) = (lab.counts(first).await.in_flight(), lab.counts(second).await.in_flight());
        (a, b)
    };
    assert_eq!(flying().await, (3, 0), "the older one goes first");
    assert_eq!((lab.hold(first).await, lab.hold(second).await), (in_lease(), in_lease()));
    lab.bench.app.update_lease(&alice(), reboots(1)).await.unwrap();
    for left in [2, 1] {
        lab.end_one(first, State::Succeeded).await;
        lab.go().await;
        assert_eq!(flying().await, (left, 0));
    }
    let lease = lab.bench.app.lease("reboots".to_owned()).await.unwrap();
    assert_eq!((lease.taken, lease.lease.limit), (1, 1));
    lab.bench.app.update_lease(&alice(), reboots(4)).await.unwrap();
    lab.go().await;
    assert_eq!(flying().await, (3, 1), "raised, it is used at once");
    lab.bench.app.delete_lease(&alice(), "reboots".to_owned(), String::new()).await.unwrap();
    lab.go().await;
    assert_eq!(flying().await, (3, 5));
}

#[tokio::test]
async fn any_number_of_operations_for_nodes_that_are_away_keeps_no_other_waiting() {
    let mut lab = Lab::empty().await;
    let away = lab.node(1, &[("env", "away")]).await;
    lab.node(2, &[("env", "here")]).await;
    lab.bench.app.create_lease(&alice(), reboots(1)).await.unwrap();
    let first = lab.begin(wish("env=here")).await;
    for _ in 0..500 {
        lab.begin(wish("env=away")).await;
    }
    let last = lab.begin(wish("env=here")).await;
    lab.go().await;
    lab.leave(away);
    lab.end_one(first, State::Succeeded).await;
    lab.go().await;
    assert_eq!(lab.counts(last).await.in_flight(), 1);
}

#[tokio::test]
async fn an_operation_can_name_a_lease_and_keeps_it_from_being_deleted() {
    let lab = Lab::new(2).await;
    let plan = Plan { lease: Some("reboots".to_owned()), ..Plan::default() };
    let refused = lab.bench.app.start_operation(&alice(), lab.wish(plan.clone())).await.unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    let lease = leases::Wish { kinds: Vec::new(), ..reboots(1) };
    lab.bench.app.create_lease(&alice(), lease).await.unwrap();
    let (named, other) = (lab.start(plan).await, lab.start(Plan::default()).await);
    lab.go().await;
    assert_eq!((lab.counts(named).await.in_flight(), lab.counts(other).await.in_flight()), (1, 2));
    let delete = async || lab.bench.app.delete_lease(&alice(), "reboots".to_owned(), String::new()).await;
    let refused = delete().await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::InUse, .. }), "{refused}");
    for _ in 0..2 {
        lab.end_one(named, State::Succeeded).await;
        lab.go().await;
    }
    delete().await.unwrap();
}

#[tokio::test]
async fn no_limit_is_passed_over_a_kill_of_the_control_plane() {
    let lab = Lab::new(5).await;
    lab.bench.app.create_lease(&alice(), reboots(3)).await.unwrap();
    let (paced, free) = (lab.start(limit(2)).await, lab.start(Plan::default()).await);
    lab.go().await;
    assert_eq!((lab.counts(paced).await.in_flight(), lab.counts(free).await.in_flight()), (2, 1));
    let lab = lab.killed().await;
    lab.go().await;
    assert_eq!((lab.counts(paced).await.in_flight(), lab.counts(free).await.in_flight()), (2, 1));
    assert_eq!((lab.hold(paced).await, lab.hold(free).await), (Some(Hold::Limit), in_lease()));
    lab.end_one(paced, State::Succeeded).await;
    lab.go().await;
    assert_eq!((lab.counts(paced).await.in_flight(), lab.counts(free).await.in_flight()), (2, 1));
}

#[tokio::test]
async fn what_takes_room_waits_here_for_its_time_and_all_else_on_its_host() {
    let lab = Lab::new(2).await;
    let at = lab.bench.app.clock.now() + Duration::from_secs(60);
    let later = |plan| Wish { not_before: Some(at), ..lab.wish(plan) };
    let (paced, free) = (lab.begin(later(limit(1))).await, lab.begin(later(Plan::default())).await);
    lab.go().await;
    assert_eq!((lab.counts(paced).await.in_flight(), lab.counts(free).await.in_flight()), (0, 2));
    assert_eq!(lab.hold(paced).await, Some(Hold::NotBefore(at)));
    lab.bench.app.clock.advance(Duration::from_secs(60));
    lab.bench.app.hand_out().await.unwrap();
    assert_eq!(lab.counts(paced).await.in_flight(), 1);
}

#[tokio::test]
async fn nodes_go_in_the_order_of_a_label() {
    let mut lab = Lab::empty().await;
    for (n, rack) in [(1, "10"), (2, "9"), (3, "b"), (5, "2")] {
        lab.node(n, &[("rack", rack)]).await;
    }
    lab.node(4, &[]).await;
    let pacing = Pacing { limit: Some(1), order_by_label: Some("rack".to_owned()), ..Pacing::default() };
    let id = lab.start(paced(pacing)).await;
    let mut order = Vec::new();
    while !lab.ended(id).await {
        lab.go().await;
        order.extend(lab.in_flight(id).await);
        lab.end_one(id, State::Succeeded).await;
    }
    assert_eq!(order, [5, 2, 1, 3, 4].map(NodeId::from_u128));
    let wrong = wish("*");
    let plan = paced(Pacing { limit: Some(0), ..Pacing::default() });
    let refused = lab.bench.app.start_operation(&alice(), Wish { plan, ..wrong }).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid { field, .. } if field == "pacing.limit"), "{refused}");
}
