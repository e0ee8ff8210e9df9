//! Memory follows the store, whatever was written and whoever wrote it.

use std::{pin::pin, time::Duration};

use futures_util::poll;
use muster_common::{ids::OperationId, reason::Reason};
use muster_domain::{
    command::{Command, State},
    liveness,
};
use muster_store::{WriteCommands as _, WriteNodes as _, WriteOperations as _};

use super::bench::{Bench, NOW, alice, hello, ledger, node, whole, wish};
use crate::{
    app::{Error, feed::Feed},
    session::ports::Desk as _,
};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn one_revision_larger_than_a_batch_does_not_stop_the_feed() {
    let bench = Bench::new().await;
    let revision = bench.write(|tx| Ok((1..=2500).try_for_each(|n| tx.node_insert(&node(n)))?)).await;
    tokio::time::timeout(SOON, bench.app.follow()).await.expect("the feed moves on").unwrap();
    assert!(bench.app.feed.reached(revision, Duration::ZERO).await);
    assert_eq!(bench.app.fleet.len(), 2500);
    let next = bench.write(|tx| Ok(tx.node_insert(&node(9999))?)).await;
    bench.app.follow().await.unwrap();
    assert!(bench.app.feed.reached(next, Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_memory_to_follow() {
    let feed = Feed::default();
    assert!(feed.reached(0, Duration::from_secs(10)).await);
    assert!(!feed.reached(1, Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_caller_is_told_that_the_write_stands_when_memory_does_not_follow() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let before = *bench.app.store.committed().borrow();
    let actor = alice();
    let mut call = pin!(bench.app.remove_node(&actor, id, String::new(), String::new()));
    assert!(poll!(&mut call).is_pending());
    written(&bench, before).await;
    tokio::time::pause(); // nobody follows: the time for it passes at once
    let Err(Error::Refused { reason, message }) = call.await else { panic!("it is not seen") };
    assert_eq!(reason, Reason::Overloaded);
    assert!(message.contains("was stored, as revision"), "{message}");
    tokio::time::resume();
    bench.app.follow().await.unwrap();
    assert!(bench.app.fleet.was_removed(id), "it stands");
}

#[tokio::test]
async fn an_order_whose_caller_went_away_is_handed_out_all_the_same() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    let before = *bench.app.store.committed().borrow();
    {
        let (actor, wish) = (alice(), wish("*"));
        let mut call = pin!(bench.app.start_operation(&actor, wish));
        assert!(poll!(&mut call).is_pending(), "the write is handed in, and the caller hangs up");
    }
    written(&bench, before).await;
    bench.app.follow().await.unwrap();
    bench.app.hand_out().await.unwrap();
    let tickets = bench.app.tickets(&session);
    assert_eq!(tickets.len(), 1);

    // The same for whoever asks it to stop.
    bench.app.follow().await.unwrap();
    let before = *bench.app.store.committed().borrow();
    {
        let actor = alice();
        let mut call =
            pin!(bench.app.cancel_operation(&actor, tickets[0].operation, "enough".to_owned(), false));
        assert!(poll!(&mut call).is_pending());
    }
    written(&bench, before).await;
    bench.app.follow().await.unwrap();
    let again = bench.app.tickets(&session);
    assert_eq!(
        again.iter().map(|ticket| (ticket.id, ticket.cancel)).collect::<Vec<_>>(),
        [(tickets[0].id, true)]
    );
    assert!(bench.app.tickets(&session).is_empty(), "it is said once");
}

async fn written(bench: &Bench, before: u64) {
    let mut committed = bench.app.store.committed();
    let written = committed.wait_for(|revision| *revision > before);
    tokio::time::timeout(SOON, written).await.expect("the write stands").unwrap();
}

#[tokio::test]
async fn what_is_read_twice_is_there_once_and_what_ended_is_gone() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let orders = bench.ordered().await; // nobody is connected: it waits
    let order = orders[0].clone();
    assert_eq!(bench.app.fleet.with(id, |entry| entry.tickets.len()), Some(1));
    let same = order.clone();
    bench.write(move |tx| Ok(tx.command_put(&same)?)).await;
    bench.app.follow().await.unwrap();
    assert_eq!(bench.app.fleet.with(id, |entry| entry.tickets.len()), Some(1));
    let ended = Command { state: State::Cancelled, ended_at: Some(NOW), ..order.clone() };
    bench
        .write(move |tx| {
            tx.command_put(&ended)?;
            Ok(tx.operation_set_ended(ended.operation, NOW)?)
        })
        .await;
    bench.app.follow().await.unwrap();
    assert_eq!(bench.app.fleet.with(id, |entry| entry.tickets.len()), Some(0));
    assert!(bench.app.operation_open(order.operation).is_none());
}

#[tokio::test]
async fn an_operation_that_matches_no_node_leaves_nothing_in_memory() {
    let bench = Bench::following().await;
    let (operation, counts) = bench.app.start_operation(&alice(), wish("role=nobody")).await.unwrap();
    assert_eq!((counts.total(), operation.ended_at), (0, Some(NOW)));
    assert!(bench.app.operation_open(operation.id).is_none());
}

#[tokio::test]
async fn a_node_is_unknown_after_a_restart_until_it_is_heard() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    bench.hello(id, &hello(ledger(1, 1))).unwrap();
    bench.app.record().await.unwrap();
    assert_eq!(bench.stored(id).await.liveness.state, liveness::State::Online);
    let bench = bench.killed().await;
    let seen = bench.app.node(&whole(), id).unwrap().node.liveness;
    assert_eq!((seen.state, &*seen.reason), (liveness::State::Unknown, liveness::AWAY));
    bench.hello(id, &hello(ledger(1, 1))).unwrap();
    assert_eq!(bench.app.node(&whole(), id).unwrap().node.liveness.state, liveness::State::Online);
}

#[tokio::test]
async fn a_page_that_nobody_gave_out_is_the_callers_fault() {
    let bench = Bench::new().await;
    let page = muster_domain::page::Page { size: 10, after: Some("no id".to_owned()) };
    let all = muster_domain::labels::Selector::parse("*").unwrap();
    let refused = bench.app.nodes(&whole(), &all, &page).unwrap_err();
    assert!(matches!(refused, Error::Store(muster_store::Error::PageKey(_))), "{refused}");
}

#[tokio::test]
async fn a_reason_has_an_end() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let long = "x".repeat(2000);
    let refused = [
        bench.app.remove_node(&alice(), id, String::new(), long.clone()).await.unwrap_err(),
        bench.app.cancel_operation(&alice(), OperationId::generate(), long.clone(), false).await.unwrap_err(),
        bench.app.leave(&alice(), id, "1".to_owned(), long).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, Error::Invalid { reason: Reason::InvalidArgument, .. }), "{error}");
    }
    let short = "x".repeat(1000);
    bench.app.remove_node(&alice(), id, String::new(), short).await.unwrap();
}
