//! Why a node has an item, or has it not.

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    item::{Cause, ItemState, Outcome},
    rollout::{Share, Wish as Asked},
};

use super::{
    bench::{NOW, alice, whole},
    rollouts::{Fleet, assignment, error, item, plan, version},
};
use crate::{
    app::{
        assignments,
        explain::{Explanation, Verdict},
    },
    session::{
        frames::ItemReport,
        ports::{Closed, Desk as _, Inbox as _},
    },
};

fn first() -> NodeId {
    NodeId::from_u128(1)
}

async fn explain(fleet: &Fleet) -> Explanation {
    fleet.bench.app.explain_item(&whole(), first(), item()).await.unwrap()
}

async fn verdict(fleet: &Fleet) -> Verdict {
    explain(fleet).await.verdict
}

fn told(found: &Explanation, about: &str) -> String {
    let of = found.reasons.iter().filter(|reason| reason.about == about);
    of.map(|reason| reason.text.clone()).collect::<Vec<_>>().join("; ")
}

/// What the first node says of what it is offered.
fn says(fleet: &Fleet, outcome: Outcome, reason: Reason, cause: Cause) {
    let session = &fleet.sessions[&first()];
    let offered = fleet.bench.app.desired(session).upserts.into_iter().next().unwrap();
    let running = fleet.bench.app.fleet.with(first(), |entry| entry.reported(&item()).cloned()).flatten();
    let state = ItemState {
        item: item(),
        running: running.and_then(|state| state.running),
        attempted: Some(offered.version),
        outcome: Some(outcome),
        error: Some(error(reason, cause)),
        changed_at: NOW,
        drift: Vec::new(),
        progress: None,
        health: None,
    };
    fleet
        .bench
        .app
        .items(session, ItemReport { seq: 1, items: vec![state], complete: false, traces: Vec::new() });
}

async fn update(fleet: &Fleet, to: u64, selector: &str) {
    let wish = assignments::Wish { target: version(to), selector: selector.to_owned(), ..assignment(false) };
    fleet.bench.app.update_assignment(&alice(), wish, false).await.unwrap();
}

#[tokio::test]
async fn what_a_host_makes_of_a_version_is_told_in_one_word() {
    let fleet = Fleet::new(false).await;
    let found = explain(&fleet).await;
    assert_eq!((found.verdict, found.wanted.unwrap().version.as_str()), (Verdict::InSync, "1"));
    update(&fleet, 2, "*").await;
    let found = explain(&fleet).await;
    assert_eq!(found.verdict, Verdict::OnItsWay);
    assert_eq!(told(&found, "Host"), "the host runs version 1 of it");
    says(&fleet, Outcome::Rejected, Reason::DiskFull, Cause::Host);
    let found = explain(&fleet).await;
    assert_eq!(found.verdict, Verdict::RetriedByHost);
    assert!(told(&found, "Host").contains("DISK_FULL"), "{found:?}");
    says(&fleet, Outcome::Rejected, Reason::PayloadCorrupt, Cause::Network);
    assert_eq!(verdict(&fleet).await, Verdict::OnItsWay);
    says(&fleet, Outcome::RolledBack, Reason::NotConfirmed, Cause::Network);
    assert_eq!(verdict(&fleet).await, Verdict::RetriedByHost);
    says(&fleet, Outcome::RolledBack, Reason::ProbeFailed, Cause::Content);
    assert_eq!(verdict(&fleet).await, Verdict::Refused);
    update(&fleet, 3, "*").await;
    says(&fleet, Outcome::Broken, Reason::RollbackFailed, Cause::Content);
    assert_eq!(verdict(&fleet).await, Verdict::Broken);
}

#[tokio::test]
async fn a_refusal_of_before_says_nothing_of_what_is_wanted_now() {
    let fleet = Fleet::new(false).await;
    update(&fleet, 2, "*").await;
    says(&fleet, Outcome::RolledBack, Reason::ProbeFailed, Cause::Content);
    assert_eq!(verdict(&fleet).await, Verdict::Refused);
    // The same version again, by a newer word: it is offered once more.
    update(&fleet, 1, "*").await;
    update(&fleet, 2, "*").await;
    assert_eq!(fleet.bench.app.desired(&fleet.sessions[&first()]).upserts.len(), 1);
    assert_eq!(verdict(&fleet).await, Verdict::OnItsWay);
    says(&fleet, Outcome::RolledBack, Reason::ProbeFailed, Cause::Content);
    assert_eq!(verdict(&fleet).await, Verdict::Refused);
    // What it refused is no word on being without it.
    update(&fleet, 2, "env=prod").await;
    assert_eq!(verdict(&fleet).await, Verdict::OnItsWay);
}

#[tokio::test]
async fn an_assignment_that_is_not_for_a_node_says_by_what() {
    let fleet = Fleet::new(false).await;
    update(&fleet, 1, "env=prod,!canary").await;
    assert_eq!(verdict(&fleet).await, Verdict::OnItsWay, "it is to be taken away");
    fleet.answer(|_| true);
    let found = explain(&fleet).await;
    assert_eq!(found.verdict, Verdict::NotAssigned);
    let text = told(&found, "Assignment");
    assert!(text.contains("env=prod (there is none)") && !text.contains("canary"), "{text}");
    let unknown = fleet.bench.app.explain_item(&whole(), NodeId::from_u128(99), item()).await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn of_two_assignments_the_stronger_one_is_named() {
    let fleet = Fleet::new(false).await;
    let stronger = assignments::Wish { name: "urgent".to_owned(), priority: 9, ..assignment(false) };
    let stronger = assignments::Wish { target: version(2), ..stronger };
    fleet.bench.app.create_assignment(&alice(), stronger, false).await.unwrap();
    let found = explain(&fleet).await;
    assert_eq!(told(&found, "Priority"), "\"urgent\" decides over \"web\"");
    assert_eq!(found.wanted.unwrap().version, "2");
}

#[tokio::test]
async fn who_is_locked_up_or_away_is_told_so() {
    let fleet = Fleet::new(false).await;
    update(&fleet, 2, "*").await;
    fleet.bench.app.quarantine_node(&alice(), first(), String::new()).await.unwrap();
    assert_eq!(verdict(&fleet).await, Verdict::Quarantined);
    fleet.bench.app.release_quarantine(&alice(), first(), None, String::new()).await.unwrap();
    let session = &fleet.sessions[&first()];
    fleet.bench.app.closed(session, &Closed::Goodbye(muster_domain::liveness::Closed::Stopped));
    let found = explain(&fleet).await;
    assert_eq!(found.verdict, Verdict::NotHere);
    assert!(told(&found, "Connection").contains("AgentStopped"), "{found:?}");
}

#[tokio::test]
async fn who_waits_for_a_rollout_is_told_for_what_it_waits() {
    let fleet = Fleet::new(true).await;
    assert_eq!(verdict(&fleet).await, Verdict::Held);
    let id = fleet.begin(Some(version(1)), plan(Share::Count(0))).await;
    fleet.bench.app.set_rollout_brake(&alice(), true, String::new()).await.unwrap();
    let found = explain(&fleet).await;
    assert_eq!(found.verdict, Verdict::WaitsForRollout);
    let text = told(&found, "Rollout");
    assert!(text.contains(&id.to_string()) && text.contains("it waits: Brake"), "{text}");
    fleet.bench.app.set_rollout_brake(&alice(), false, String::new()).await.unwrap();
    fleet.run(|_| true).await;
    assert_eq!(verdict(&fleet).await, Verdict::InSync);
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.ask(id, Asked::Pause).await.unwrap();
    let found = explain(&fleet).await;
    assert_eq!((found.verdict, found.wanted.unwrap().version.as_str()), (Verdict::WaitsForRollout, "1"));
}
