//! Who gets an order at all: preconditions, newer operations, retries, previews, force.

use muster_common::{
    clock::UnixMillis,
    ids::{NodeId, OperationId},
    reason::Reason,
};
use muster_domain::{
    command::{Command, State},
    operation::{Plan, Preconditions, Supersede},
    page::Page,
    sighting::{Quarantine, Suspicion},
};

use super::{
    lab::{Lab, speaks},
    limit,
};
use crate::{
    app::{
        Error,
        operations::{PreviewCounts, Wish},
        tests::bench::{alice, whole, wish},
    },
    session::{
        frames::FactsReport,
        ports::{Desk as _, Inbox as _},
    },
};

fn asking(preconditions: Preconditions) -> Plan {
    Plan { preconditions, ..Plan::default() }
}

fn keyed(key: &str, stop_running: bool) -> Plan {
    Plan { supersede: Some(Supersede { key: key.to_owned(), stop_running }), ..limit(1) }
}

fn how(command: &Command) -> (State, Option<Reason>) {
    (command.state, command.reason)
}

#[tokio::test]
async fn a_precondition_that_does_not_hold_ends_the_command_and_takes_no_room() {
    let mut lab = Lab::empty().await;
    lab.node(1, &[("env", "test")]).await;
    let old = lab.node(2, &[("env", "prod")]).await;
    let bare = lab.node(3, &[("env", "prod")]).await;
    lab.node(4, &[("env", "prod")]).await;
    lab.come_as(
        old,
        &crate::session::frames::Hello { agent_version: "1.0.9".to_owned(), ..speaks(&["run-script"]) },
    );
    lab.come_as(bare, &speaks(&[]));
    let preconditions = Preconditions {
        selector: "env=prod".to_owned(),
        agent_version_min: "1.1.0".to_owned(),
        capabilities: vec!["run-script".to_owned()],
    };
    let id = lab.start(Plan { preconditions, ..limit(1) }).await;
    lab.go().await;
    let commands = lab.commands(id).await;
    let unmet = (State::Cancelled, Some(Reason::PreconditionFailed));
    assert_eq!(commands.iter().map(how).collect::<Vec<_>>(), [unmet, unmet, unmet, (State::Delivered, None)]);
    let said: Vec<&str> = commands[..3].iter().map(|it| it.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "selector: the node does not match \"env=prod\"",
            "agent_version_min: the node has \"1.0.9\", which is older than 1.1.0",
            "capabilities: the node's agent does not know \"run-script\"",
        ]
    );
}

#[tokio::test]
async fn a_precondition_on_facts_waits_for_the_facts_of_a_host_that_has_others_now() {
    let mut lab = Lab::empty().await;
    let node = lab.node(1, &[]).await;
    lab.leave(node);
    let debian = Preconditions { selector: "facts.os=debian".to_owned(), ..Preconditions::default() };
    let id = lab.start(asking(debian)).await;
    lab.come_as(node, &crate::session::frames::Hello { facts_sha256: vec![2], ..speaks(&[]) });
    lab.go().await;
    assert_eq!(lab.commands(id).await[0].state, State::Queued, "it has not said what it is now");
    let facts = muster_domain::facts::Facts { os: "debian".to_owned(), ..Default::default() };
    lab.bench.app.facts(lab.session(node), FactsReport { facts, sha256: vec![2] });
    lab.go().await;
    assert_eq!(lab.commands(id).await[0].state, State::Delivered);
}

#[tokio::test]
async fn facts_that_turn_out_to_be_known_are_waited_for_no_longer() {
    let mut lab = Lab::empty().await;
    let node = lab.node(1, &[("env", "prod")]).await;
    let prod = Preconditions { selector: "env=prod".to_owned(), ..Preconditions::default() };
    lab.come_as(node, &crate::session::frames::Hello { facts_sha256: vec![2], ..speaks(&[]) });
    let id = lab.start(asking(prod)).await;
    lab.go().await;
    assert_eq!(lab.commands(id).await[0].state, State::Queued);
    // They are again what they were before.
    let facts = muster_domain::facts::Facts::default();
    lab.bench.app.facts(lab.session(node), FactsReport { facts, sha256: vec![1] });
    lab.go().await;
    assert_eq!(lab.commands(id).await[0].state, State::Delivered);
}

#[tokio::test]
async fn facts_that_are_stored_before_an_edit_is_read_are_waited_for_no_longer() {
    let mut lab = Lab::empty().await;
    let node = lab.node(1, &[]).await;
    lab.come_as(node, &crate::session::frames::Hello { facts_sha256: vec![2], ..speaks(&[]) });
    let debian = Preconditions { selector: "facts.os=debian".to_owned(), ..Preconditions::default() };
    let id = lab.start(asking(debian)).await;
    lab.go().await;
    let facts = muster_domain::facts::Facts { os: "debian".to_owned(), ..Default::default() };
    lab.bench.app.facts(lab.session(node), FactsReport { facts, sha256: vec![2] });
    // As if the feed had brought an edit of after between the write and its answer.
    lab.bench.app.fleet.with(node, |mut entry| entry.node.selector_revision += 1000);
    lab.bench.app.record().await.unwrap();
    assert_eq!(
        lab.bench.app.fleet.with(node, |entry| entry.live.as_ref().map(|it| it.facts_due)),
        Some(Some(false))
    );
    assert!(lab.bench.app.dispatch.may_wait(id), "its node is looked at again");
}

#[tokio::test]
async fn a_newer_operation_takes_the_place_of_older_ones_on_its_nodes() {
    let mut lab = Lab::empty().await;
    let prod = lab.node(1, &[("env", "prod")]).await;
    lab.node(2, &[("env", "prod")]).await;
    lab.node(3, &[("env", "test")]).await;
    let (older, other) = (lab.start(keyed("deploy", false)).await, lab.start(keyed("other", false)).await);
    lab.go().await;
    assert_eq!(lab.in_flight(older).await, [prod]);
    let on_prod = Wish { selector: "env=prod".to_owned(), ..lab.wish(keyed("deploy", false)) };
    let newer = lab.begin(on_prod.clone()).await;
    let commands = lab.commands(older).await;
    let superseded = (State::Cancelled, Some(Reason::Superseded));
    assert_eq!(
        commands.iter().map(how).collect::<Vec<_>>(),
        [(State::Delivered, None), superseded, (State::Queued, None)],
        "what runs goes on, and other nodes keep theirs"
    );
    assert_eq!(commands[1].message, format!("operation {newer} supersedes it"));
    assert!(!commands[0].cancel_requested);
    assert_eq!(lab.counts(other).await.get(State::Cancelled), 0);
    let stopping = lab.begin(Wish { plan: keyed("deploy", true), ..on_prod }).await;
    assert!(lab.commands(older).await[0].cancel_requested);
    assert!(lab.commands(newer).await.iter().all(|it| how(it) == superseded));
    assert!(lab.ended(newer).await);
    let refused =
        lab.bench.app.retry_operation(&alice(), older, Vec::new(), String::new()).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused { reason: Reason::StateConflict, .. }), "{refused}");
    assert!(refused.to_string().contains(&stopping.to_string()));
}

async fn failed_on_two_of_three(lab: &Lab) -> OperationId {
    let id = lab.start(Plan::default()).await;
    lab.go().await;
    for state in [State::Failed, State::Succeeded, State::Interrupted] {
        lab.end_one(id, state).await;
    }
    lab.go().await;
    id
}

#[tokio::test]
async fn only_what_failed_is_retried_and_only_once() {
    let lab = Lab::new(3).await;
    let nodes = lab.nodes();
    let id = failed_on_two_of_three(&lab).await;
    let retry = async |states: &[State], request: &str| {
        lab.bench.app.retry_operation(&alice(), id, states.to_vec(), request.to_owned()).await
    };
    let (again, counts) = retry(&[], "once").await.unwrap();
    assert_eq!((again.retry_of, counts.total()), (Some(id), 1), "what may have run must be asked for");
    assert_eq!(retry(&[], "once").await.unwrap().0.id, again.id);
    let reused = retry(&[State::Interrupted], "once").await.unwrap_err();
    assert!(matches!(reused, Error::Refused { reason: Reason::RequestIdReused, .. }), "{reused}");
    let (before, after) = (lab.commands(id).await, lab.commands(again.id).await);
    assert_eq!((after[0].node, after[0].retry_of), (nodes[0], Some(before[0].id)));
    lab.go().await;
    let ticket = lab.bench.app.tickets(lab.session(nodes[0])).remove(0);
    assert_eq!((ticket.id, ticket.retry_of), (after[0].id, Some(before[0].id)));

    let (nobody, counts) = retry(&[], "").await.unwrap();
    assert_eq!((counts.total(), nobody.ended_at.is_some()), (0, true), "it is being retried already");
    let (_, counts) = retry(&[State::Interrupted, State::Interrupted], "").await.unwrap();
    assert_eq!(counts.total(), 1);
    for wrong in [State::Succeeded, State::Running] {
        let refused = retry(&[wrong], "").await.unwrap_err();
        assert!(matches!(&refused, Error::Invalid { field, .. } if field == "states"), "{refused}");
    }
}

#[tokio::test]
async fn force_kills_on_hosts_that_are_here_and_waits_for_no_others() {
    let lab = Lab::new(2).await;
    let nodes = lab.nodes();
    let id = lab.start(Plan::default()).await;
    lab.go().await;
    nodes.iter().for_each(|node| drop(lab.bench.app.tickets(lab.session(*node))));
    lab.leave(nodes[1]);
    let cancel = async |force| lab.bench.app.cancel_operation(&alice(), id, String::new(), force).await;
    let (_, counts) = cancel(false).await.unwrap();
    assert_eq!(counts.in_flight(), 2, "it was asked");
    let (operation, counts) = cancel(true).await.unwrap();
    assert!(operation.cancel_forced);
    assert_eq!((counts.in_flight(), counts.get(State::Interrupted)), (1, 1));
    let given_up = &lab.commands(id).await[1];
    assert_eq!((given_up.node, given_up.reason), (nodes[1], Some(Reason::CancelledByOperator)));
    let ticket = lab.bench.app.tickets(lab.session(nodes[0])).remove(0);
    assert!(ticket.cancel && ticket.force);
    lab.leave(nodes[0]);
    cancel(true).await.unwrap();
    assert!(lab.ended(id).await, "said again, it ends what went away since");
}

#[tokio::test]
async fn force_waits_for_no_node_that_would_not_be_told() {
    let lab = Lab::new(1).await;
    let node = lab.nodes()[0];
    let id = lab.start(Plan::default()).await;
    lab.go().await;
    let quarantine =
        Quarantine { reason: Suspicion::ByOperator, since: UnixMillis(1), seen: Vec::new(), newest: None };
    lab.bench.app.fleet.with(node, |mut entry| entry.node.quarantine = Some(Box::new(quarantine)));
    lab.bench.app.cancel_operation(&alice(), id, String::new(), true).await.unwrap();
    assert!(lab.ended(id).await, "it has a session, and gets no orders");
}

#[tokio::test]
async fn a_preview_tells_who_in_which_order_and_stores_nothing() {
    let mut lab = Lab::empty().await;
    for (n, rack) in [(1, "3"), (2, "2"), (3, "1")] {
        lab.node(n, &[("rack", rack)]).await;
    }
    let nodes = lab.nodes();
    lab.leave(nodes[0]);
    lab.come_as(nodes[1], &speaks(&[]));
    let queued = lab.start(keyed("deploy", false)).await;
    let mut plan = keyed("deploy", false);
    plan.pacing.order_by_label = Some("rack".to_owned());
    plan.preconditions.selector = "rack!=1".to_owned();
    let asked = Wish { plan, ..wish("*") };
    let page = |after| Page { size: 2, after };
    let preview = async |after| lab.bench.app.preview_operation(&whole(), &asked, page(after)).await.unwrap();
    let (first, counts) = preview(None).await;
    let (second, same) = preview(first.next).await;
    let order: Vec<NodeId> = first.rows.iter().chain(&second.rows).map(|it| it.node).collect();
    assert_eq!((order, second.next), (vec![nodes[2], nodes[1], nodes[0]], None));
    assert_eq!(counts, same);
    let expected = PreviewCounts { total: 3, online: 2, unmet: 1, kind_unknown: 1, superseded: 3 };
    assert_eq!(counts, expected);
    assert!(first.rows[0].unmet.is_some() && first.rows[1].kind_unknown);
    assert_eq!(lab.counts(queued).await.get(State::Queued), 3, "nothing was superseded");
}
