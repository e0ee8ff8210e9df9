//! Orders that nobody answers, or somebody else does.

use std::time::Duration;

use bytes::Bytes;
use muster_common::reason::Reason;
use muster_domain::command::State;

use super::bench::{Bench, hello, ledger, said, whole};
use crate::session::{
    frames::{Chunk, CommandReport},
    ports::Inbox as _,
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_order_without_an_answer_ends_and_a_late_answer_is_kept() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    let order = bench.ordered().await.remove(0);
    bench.app.command(&session, said(&order, 1, State::Running)).unwrap();
    bench.app.record().await.unwrap();

    // A day to be delivered, ten minutes to run, and ten more.
    bench.app.clock.advance(MINUTE * (24 * 60 + 19));
    assert_eq!(bench.app.give_up_commands().await.unwrap(), 0);
    bench.app.clock.advance(MINUTE * 2);
    assert_eq!(bench.app.give_up_commands().await.unwrap(), 1);
    let given_up = bench.command(&order).await;
    assert_eq!((given_up.state, given_up.reason), (State::Interrupted, Some(Reason::FinishByPassed)));
    let (operation, _) = bench.app.operation(&whole(), order.operation).await.unwrap();
    assert!(operation.ended_at.is_some() && operation.ended_at == given_up.ended_at);
    // The feed may still be showing what was before.
    bench.until(|| bench.app.fleet.with(id, |entry| entry.tickets.len()) == Some(0)).await;

    let output = Some(Chunk { stderr: false, data: Bytes::from_static(b"late"), dropped_bytes: 0 });
    bench.app.command(&session, CommandReport { output, ..said(&order, 2, State::Running) }).unwrap();
    bench.app.command(&session, CommandReport { exit_code: 3, ..said(&order, 3, State::Failed) }).unwrap();
    bench.app.record().await.unwrap();
    let answered = bench.command(&order).await;
    assert_eq!((answered.state, answered.exit_code), (State::Interrupted, Some(3)));
    assert_eq!((answered.output_bytes, answered.report_seq), (4, 3));
    assert_eq!(answered.message, "its host said later: failed");
}

#[tokio::test]
async fn who_answers_the_order_of_another_node_takes_nothing_from_its_answer() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    let order = bench.ordered().await.remove(0);
    let stranger = bench.node(2).await;
    let (other, _) = bench.hello(stranger, &hello(ledger(2, 1))).unwrap();
    // All of it is stored at once.
    bench.app.command(&session, said(&order, 1, State::Running)).unwrap();
    bench.app.command(&session, said(&order, 2, State::Succeeded)).unwrap();
    bench.app.command(&other, said(&order, 3, State::Failed)).unwrap();
    bench.app.record().await.unwrap();
    assert_eq!(bench.command(&order).await.state, State::Succeeded);
    let (operation, _) = bench.app.operation(&whole(), order.operation).await.unwrap();
    assert!(operation.ended_at.is_some(), "it was the last of its operation");
}
