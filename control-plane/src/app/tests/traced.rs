//! What is told of orders, where somebody collects it.

use muster_common::trace::OF_ORDER;
use muster_domain::{
    command::{Command, State},
    operation::{Plan, Supersede, pace::Pacing},
    rollout::Share,
};
use tokio::sync::mpsc;

use super::bench::{Bench, alice, hello, ledger, said, wish};
use crate::{
    app::{Actor, operations::Wish},
    session::{
        frames::CommandReport,
        hub::Handle,
        ports::{Desk as _, Inbox as _},
    },
    traces::{Span, Told, tests::drained},
};

/// A caller of whom everything is collected.
fn traced() -> Actor {
    let traced = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok();
    Actor { traced, ..alice() }
}

/// What was told of parts with a name: why each failed, in order.
fn errors(told: &mut mpsc::Receiver<Span>, name: &str) -> Vec<String> {
    let mut errors: Vec<String> =
        drained(told).into_iter().filter(|it| it.name == name).map(|it| it.error).collect();
    errors.sort();
    errors
}

async fn start(bench: &Bench, plan: Plan) -> Vec<Command> {
    let (operation, _) = bench.app.start_operation(&traced(), Wish { plan, ..wish("*") }).await.unwrap();
    bench.app.hand_out().await.unwrap();
    bench.of(operation.id).await
}

async fn here(bench: &Bench, number: u128) -> Handle {
    let id = bench.node(number).await;
    bench.hello(id, &hello(ledger(number, 1))).unwrap().0
}

#[tokio::test]
async fn what_ends_without_its_host_is_told_as_what_its_host_ended() {
    let (bench, mut told) = Bench::traced().await;
    let away = bench.node(1).await;
    let id = start(&bench, Plan::default()).await.remove(0).operation;
    bench.app.cancel_operation(&alice(), id, String::new(), false).await.unwrap();
    let all = drained(&mut told);
    let operation = all.iter().find(|it| it.name == "operation run-script").unwrap();
    let command = all.iter().find(|it| it.name == "command run-script").unwrap();
    assert_eq!((command.parent, command.error.as_str()), (Some(operation.id), "CANCELLED_BY_OPERATOR"));

    let keyed = || Plan {
        supersede: Some(Supersede { key: "k".to_owned(), stop_running: false }),
        ..Plan::default()
    };
    start(&bench, keyed()).await;
    drained(&mut told);
    start(&bench, keyed()).await;
    let all = drained(&mut told);
    let errors_of = |name: &str| -> Vec<&str> {
        all.iter().filter(|it| it.name == name).map(|it| it.error.as_str()).collect()
    };
    assert_eq!(errors_of("command run-script"), ["SUPERSEDED"]);
    assert_eq!(errors_of("operation run-script"), [""], "and what it was part of is over, too");

    bench.app.remove_node(&alice(), away, String::new(), String::new()).await.unwrap();
    assert_eq!(errors(&mut told, "command run-script"), ["NODE_GONE"]);
}

#[tokio::test]
async fn what_is_withdrawn_when_too_many_failed_is_told() {
    let (bench, mut told) = Bench::traced().await;
    let sessions = [here(&bench, 1).await, here(&bench, 2).await];
    let pacing = Pacing { limit: Some(1), max_failures: Some(Share::Count(0)), ..Pacing::default() };
    let orders = start(&bench, Plan { pacing, ..Plan::default() }).await;
    let out = orders.iter().find(|it| it.state == State::Delivered).unwrap();
    let session = sessions.iter().find(|it| it.node() == out.node).unwrap();
    bench.app.command(session, said(out, 1, State::Failed)).unwrap();
    bench.app.record().await.unwrap();
    assert_eq!(errors(&mut told, "command run-script"), ["ERROR_BUDGET_SPENT", "failed"]);
}

#[tokio::test]
async fn an_order_is_told_as_delivered_once() {
    let (bench, mut told) = Bench::traced().await;
    let session = here(&bench, 1).await;
    let order = start(&bench, Plan::default()).await.remove(0);
    let given = bench.app.tickets(&session);
    assert_eq!(given.len(), 1);
    // It may have been lost on the way: the next session is given it again.
    let (session, _) = bench.hello(order.node, &hello(ledger(1, 1))).unwrap();
    let again = bench.app.tickets(&session);
    assert_eq!(again[0].traceparent, given[0].traceparent);
    bench.app.cancel_operation(&alice(), order.operation, String::new(), false).await.unwrap();
    bench.until(|| bench.app.fleet.with(order.node, |entry| entry.tickets[0].to_send) == Some(true)).await;
    assert!(bench.app.tickets(&session)[0].cancel);
    assert_eq!(errors(&mut told, "deliver"), [""]);
}

#[tokio::test]
async fn what_hosts_tell_takes_place_only_with_an_end_that_somebody_collects() {
    let part = Told { name: "x".repeat(256), ..Told::default() };
    let report = |order: &Command, seq, state| CommandReport {
        spans: vec![part.clone(); OF_ORDER],
        ..said(order, seq, state)
    };
    let bench = Bench::following().await;
    let session = here(&bench, 1).await;
    let order = bench.ordered().await.remove(0);
    for seq in 1..=500 {
        let state = if seq % 2 == 0 { State::Running } else { State::Failed };
        bench.app.command(&session, report(&order, seq, state)).unwrap();
    }
    let (bench, _told) = Bench::traced().await;
    let session = here(&bench, 1).await;
    let order = bench.ordered().await.remove(0);
    for seq in 1..=300 {
        bench.app.command(&session, report(&order, seq, State::Running)).unwrap();
    }
    let ends =
        (1..300).take_while(|seq| bench.app.command(&session, report(&order, *seq, State::Failed)).is_ok());
    assert!(ends.count() < 210, "two megabytes of one node");
}
