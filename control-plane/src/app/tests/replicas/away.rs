//! A replica that could not read or write the store for a while, and what it left behind.

use std::{pin::Pin, task::Poll};

use futures_util::poll;
use muster_common::ids::ReplicaId;
use muster_store::WriteChanges as _;

use super::{
    taken::{Jam, held, news},
    *,
};
use crate::app::replicas::BLIND_AFTER;

fn id_of(bench: &Bench) -> ReplicaId {
    bench.app.replicas.id()
}

/// A node of the second one, which the first one has for lost.
async fn lost(pair: &(Bench, Bench)) -> (NodeId, Handle) {
    let id = node(pair).await;
    let session = connect(&pair.1, id);
    settle(pair).await;
    pass(LEASE + BEAT, &[&pair.0]).await;
    assert_eq!(held(&pair.0, id).await, None);
    (id, session)
}

/// A beat that has read, and waits for what it writes.
async fn beat(bench: &Bench) -> Pin<Box<impl Future<Output = Result<(), crate::app::Error>>>> {
    let mut beat = Box::pin(bench.app.beat());
    assert!(poll!(&mut beat).is_pending());
    // Reads are done in their order.
    bench.app.store.read_own(|_| Ok::<_, crate::app::Error>(())).await.unwrap();
    assert!(poll!(&mut beat).is_pending());
    beat
}

#[tokio::test]
async fn one_that_was_away_for_longer_than_the_feed_is_kept_ends() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    connect(&pair.0, id);
    pair.0.app.record().await.unwrap();
    pair.0.write(|tx| Ok(tx.changes_prune(0, u64::MAX >> 1, u64::MAX >> 1)?)).await;
    let refused = pair.1.app.follow().await.unwrap_err();
    assert!(
        matches!(&refused, crate::app::Error::Refused { reason: Reason::StateConflict, .. }),
        "{refused}"
    );
    let over = tokio::time::timeout(Duration::from_secs(5), pair.1.app.replicas.over()).await.unwrap();
    assert!(over.contains("change feed begins"), "{over}");
    // It reads everything when it starts.
    let anew = pair.0.beside("b").await;
    assert_eq!(state(&anew, id), liveness::State::Online);
}

#[tokio::test]
async fn one_that_cannot_read_the_store_calls_nobody_gone_and_then_waits_for_all_once_more() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    connect(&pair.0, id);
    settle(&pair).await;
    let limits = pair.0.app.liveness_limits();
    wait(limits.offline.max(BLIND_AFTER) + BEAT).await;
    assert_eq!(pair.0.app.sweep(None).next, None);
    assert_eq!(state(&pair.0, id), liveness::State::Online, "it may have gone elsewhere");
    pair.0.app.follow().await.unwrap();
    pair.0.app.sweep(None);
    assert_eq!(state(&pair.0, id), liveness::State::Unknown);
    wait(limits.away - BEAT).await;
    pair.0.app.follow().await.unwrap();
    pair.0.app.sweep(None);
    assert_eq!(state(&pair.0, id), liveness::State::Unknown, "it has its time");
    wait(BEAT).await;
    pair.0.app.follow().await.unwrap();
    pair.0.app.sweep(None);
    assert_eq!(state(&pair.0, id), liveness::State::Offline);
}

#[tokio::test]
async fn after_an_outage_of_the_database_who_has_no_session_here_has_its_time_whether_it_is_due_or_not() {
    let pair = Bench::pair().await;
    let (closed, held) = (node(&pair).await, pair.0.node(2).await);
    let session = connect(&pair.0, closed);
    settle(&pair).await;
    wait(BLIND_AFTER + BEAT).await;
    connect(&pair.0, held);
    // Its stream breaks in the outage, and its grace goes on when that is over.
    pair.0.app.closed(&session, &Closed::Lost);
    pair.0.app.sweep(None);
    pair.0.app.follow().await.unwrap();
    pair.0.app.sweep(None);
    assert_eq!(state(&pair.0, closed), liveness::State::Unknown, "it may be with another one");
    assert_eq!(state(&pair.0, held), liveness::State::Online);
    let limits = pair.0.app.liveness_limits();
    wait(limits.grace).await;
    pair.0.app.follow().await.unwrap();
    pair.0.app.sweep(None);
    assert_eq!(state(&pair.0, closed), liveness::State::Unknown, "it has its time");
}

#[tokio::test]
async fn one_that_stays_cut_off_sends_its_nodes_to_the_others_which_wait_for_them() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let mut session = session(&pair.1.app, id);
    assert!(matches!(session.next().await, Some(Ok(Frame { body: Outbound::Welcome(_), .. }))));
    settle(&pair).await;
    let away = pair.1.app.liveness_limits().away;
    let mut told = async || {
        pair.1.app.leave_if_cut_off();
        let mut told = None;
        while let Poll::Ready(Some(Ok(frame))) = poll!(session.next()) {
            if let Outbound::Reconnect { reason, .. } = frame.body {
                told = Some(reason);
            }
        }
        told
    };
    pass(LEASE, &[&pair.0]).await;
    assert_eq!(told().await, None, "the database may fail over");
    pair.1.app.beat().await.unwrap();
    pass(LEASE + away / 5, &[&pair.0]).await;
    assert_eq!(told().await, None, "it has just begun");
    assert_eq!(state(&pair.0, id), liveness::State::Unknown, "the others have it for lost");
    pass(away * 3 / 5, &[&pair.0]).await;
    assert_eq!(told().await, Some("cut-off"));
    assert_eq!(state(&pair.0, id), liveness::State::Unknown, "it is waited for");
}

#[tokio::test]
async fn one_whose_beat_was_stored_and_not_answered_takes_its_nodes_again_with_the_next() {
    let pair = Bench::pair().await;
    let (id, _) = lost(&pair).await;
    let jam = Jam::of_writes(&pair.1);
    let beat = beat(&pair.1).await;
    jam.let_go(&pair.1).await;
    drop(beat); // its answer is lost
    pair.0.app.beat().await.unwrap();
    assert!(pair.0.app.replicas.all().iter().any(|replica| replica.id == id_of(&pair.1)), "it is stored");
    assert_eq!(held(&pair.0, id).await, None);
    pair.1.app.beat().await.unwrap();
    settle(&pair).await;
    assert_eq!(held(&pair.0, id).await, Some(id_of(&pair.1)));
}

#[tokio::test]
async fn one_that_could_not_look_where_its_nodes_are_takes_them_again_with_the_next_beat() {
    let pair = Bench::pair().await;
    let (id, _) = lost(&pair).await;
    let jam = Jam::of_writes(&pair.1);
    let beat = beat(&pair.1).await;
    jam.let_go(&pair.1).await;
    let jam = Jam::of_reads(&pair.1).await;
    beat.await.unwrap_err();
    jam.let_go(&pair.1).await;
    settle(&pair).await;
    assert_eq!(held(&pair.0, id).await, None);
    pair.1.app.beat().await.unwrap();
    settle(&pair).await;
    assert_eq!(held(&pair.0, id).await, Some(id_of(&pair.1)));
}

#[tokio::test]
async fn a_node_that_was_said_to_be_gone_while_its_replica_was_away_is_there_again_with_it() {
    let pair = Bench::pair().await;
    let (id, _) = lost(&pair).await;
    pass(pair.0.app.liveness_limits().away, &[&pair.0]).await;
    pair.0.app.sweep(None);
    pair.0.app.record().await.unwrap();
    assert_eq!(pair.0.stored(id).await.liveness.state, liveness::State::Offline);
    pair.1.app.beat().await.unwrap();
    settle(&pair).await;
    assert_eq!(pair.0.stored(id).await.liveness.state, liveness::State::Online);
    assert_eq!([state(&pair.0, id), state(&pair.1, id)], [liveness::State::Online; 2]);
}

#[tokio::test]
async fn what_one_wrote_after_it_was_lost_and_before_it_died_is_freed() {
    let pair = Bench::pair().await;
    let (id, session) = lost(&pair).await;
    news(&pair.1, &session, "Behind");
    pair.1.app.record().await.unwrap();
    pair.0.app.follow().await.unwrap();
    assert_eq!(held(&pair.0, id).await, Some(id_of(&pair.1)));
    assert_eq!(state(&pair.0, id), liveness::State::Online);
    pass(BEAT * 31, &[&pair.0]).await;
    assert_eq!(held(&pair.0, id).await, None);
    assert_eq!(state(&pair.0, id), liveness::State::Unknown);
}
