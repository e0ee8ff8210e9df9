//! A host that lost its memory gets nothing twice.

use muster_domain::command::State;

use super::bench::{Bench, hello, ledger};
use crate::session::{
    frames::{Hello, OpenCommand},
    ports::Desk as _,
};

#[tokio::test]
async fn what_a_lost_ledger_had_is_not_sent_again_even_after_a_kill() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    bench.hello(id, &hello(ledger(1, 5))).unwrap();
    bench.app.record().await.unwrap();
    let order = bench.ordered().await.remove(0);
    assert_eq!(bench.command(&order).await.state, State::Delivered);

    let (session, _) = bench.hello(id, &hello(ledger(2, 1))).unwrap();
    assert!(bench.app.tickets(&session).is_empty());
    // Nothing is written yet: a kill here, and the next Hello tells the same story.
    let bench = bench.killed().await;
    assert_eq!(bench.stored(id).await.ledger, Some(ledger(1, 5)));
    let (session, _) = bench.hello(id, &hello(ledger(2, 1))).unwrap();
    assert!(bench.app.tickets(&session).is_empty());
    // The mark and the end are one write: no kill comes between.
    bench.app.record().await.unwrap();
    assert_eq!(bench.stored(id).await.ledger, Some(ledger(2, 1)));
    assert_eq!(bench.command(&order).await.state, State::Interrupted);
    assert!(bench.app.operation_open(order.operation).is_none(), "and its operation is over");
    let bench = bench.killed().await;
    let (session, _) = bench.hello(id, &hello(ledger(2, 1))).unwrap();
    assert!(bench.app.tickets(&session).is_empty());
}

#[tokio::test]
async fn a_second_hello_does_not_revive_what_the_first_one_lost() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    bench.hello(id, &hello(ledger(1, 5))).unwrap();
    let order = bench.ordered().await.remove(0);
    bench.hello(id, &hello(ledger(2, 1))).unwrap();
    // Not recorded yet, and the new ledger is the one that memory knows.
    let (session, _) = bench.hello(id, &hello(ledger(2, 1))).unwrap();
    assert!(bench.app.tickets(&session).is_empty());
    bench.app.record().await.unwrap();
    assert_eq!(bench.command(&order).await.state, State::Interrupted);
}

#[tokio::test]
async fn a_host_that_kept_its_memory_gets_again_what_it_does_not_hold() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    bench.hello(id, &hello(ledger(1, 5))).unwrap();
    let order = bench.ordered().await.remove(0);
    let (session, _) = bench.hello(id, &hello(ledger(1, 5))).unwrap();
    assert_eq!(bench.app.tickets(&session).len(), 1, "it may have been lost on the way");
    let open = OpenCommand { id: order.id, state: Some(State::Running) };
    let holding = Hello { open_commands: vec![open], ..hello(ledger(1, 6)) };
    let (session, _) = bench.hello(id, &holding).unwrap();
    assert!(bench.app.tickets(&session).is_empty());
}

#[tokio::test]
async fn a_host_that_went_back_ends_what_it_holds_and_starts_nothing_that_is_over() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    bench.hello(id, &hello(ledger(1, 5))).unwrap();
    bench.app.record().await.unwrap();
    let order = bench.ordered().await.remove(0);
    let holding = |seq, id| {
        let open_commands = vec![OpenCommand { id, state: Some(State::Delivered) }];
        Hello { open_commands, ..hello(ledger(1, seq)) }
    };
    let (_, opened) = bench.hello(id, &holding(6, order.id)).unwrap();
    assert!(opened.welcome.withdrawn.is_empty(), "it waits there, as it should");
    let (_, opened) = bench.hello(id, &holding(4, order.id)).unwrap();
    assert_eq!(opened.welcome.withdrawn, [order.id], "it may have run before");
    bench.app.record().await.unwrap();
    assert_eq!(bench.command(&order).await.state, State::Interrupted);
    let (_, opened) = bench.hello(id, &holding(4, order.id)).unwrap();
    assert_eq!(opened.welcome.withdrawn, [order.id], "it is over");
    let unknown = muster_common::ids::CommandId::from_u128(99);
    let (_, opened) = bench.hello(id, &holding(5, unknown)).unwrap();
    assert_eq!(opened.welcome.withdrawn, [unknown], "nobody here knows of it");
}
