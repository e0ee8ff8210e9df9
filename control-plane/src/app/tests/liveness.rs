//! Who is called offline, and who is not.

use std::time::Duration;

use muster_common::ids::NodeId;
use muster_domain::liveness::State;
use muster_store::WriteNodes as _;

use super::{
    bench::{Bench, hello, ledger, node},
    replicas::wait,
};
use crate::session::{
    hub::Handle,
    ports::{Closed, Inbox as _},
};

/// So many are connected at once, of whom a hundred come back in a second.
async fn connected(bench: &Bench, numbers: std::ops::RangeInclusive<u128>) -> Vec<Handle> {
    let ids: Vec<NodeId> = numbers.clone().map(NodeId::from_u128).collect();
    bench.write(move |tx| Ok(numbers.clone().try_for_each(|number| tx.node_insert(&node(number)))?)).await;
    bench.app.follow().await.unwrap();
    ids.into_iter().map(|id| bench.hello(id, &hello(ledger(1, 1))).unwrap().0).collect()
}

fn states(bench: &Bench) -> Vec<(State, usize)> {
    bench.app.sweep(None).counts.into_iter().collect()
}

#[tokio::test]
async fn nodes_whose_streams_all_break_at_once_have_as_long_as_they_stand_in_line() {
    const MANY: usize = 700;
    let bench = Bench::new().await;
    let sessions = connected(&bench, 1..=MANY as u128).await;
    sessions.iter().for_each(|session| bench.app.closed(session, &Closed::Lost));
    let limits = bench.app.liveness_limits();
    assert_eq!(states(&bench), [(State::Late, MANY)]);
    wait(limits.grace).await;
    assert_eq!(states(&bench), [(State::Unknown, MANY)], "they may stand in the line");
    // Half of them were in it.
    for session in &sessions[..MANY / 2] {
        bench.hello(session.node(), &hello(ledger(1, 1))).unwrap();
    }
    wait(limits.away - limits.grace).await;
    for session in &sessions[..MANY / 2] {
        bench.hello(session.node(), &hello(ledger(1, 1))).unwrap();
    }
    assert_eq!(states(&bench), [(State::Online, MANY / 2), (State::Offline, MANY / 2)]);
}

#[tokio::test]
async fn nodes_whose_streams_break_with_few_others_have_the_grace_and_no_more() {
    let bench = Bench::new().await;
    let sessions = connected(&bench, 1..=50).await;
    sessions.iter().for_each(|session| bench.app.closed(session, &Closed::Lost));
    wait(bench.app.liveness_limits().grace).await;
    assert_eq!(states(&bench), [(State::Offline, 50)]);
}

#[tokio::test]
async fn after_a_long_look_at_all_nodes_there_is_a_longer_rest() {
    let bench = Bench::new().await;
    let rest = |took| bench.app.sweep_in(Some(bench.app.clock.monotonic()), Duration::from_millis(took));
    assert_eq!([0, 5, 200, 5000].map(rest).map(|rest| rest.as_millis()), [100, 100, 2000, 5000]);
}
