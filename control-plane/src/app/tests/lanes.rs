//! What waits and what is turned away while the store does not keep up.

use std::{
    future::Future,
    sync::{Mutex, mpsc},
    time::Duration,
};

use futures_util::FutureExt as _;
use muster_common::{digest::Sha256, reason::Reason};
use muster_domain::{lane::Lane, liveness};
use muster_store::WriteTx;

use super::{
    bench::{Bench, hello, ledger, stamp},
    reports::item,
};
use crate::{
    app::{App, Error},
    session::{frames::ItemReport, ports::Inbox as _},
};

/// A write that has begun and goes on until it is let go.
fn held(app: &App) -> (impl Future<Output = Result<(), Error>> + use<>, mpsc::SyncSender<()>) {
    let ((let_go, wait), (begun, is_begun)) = (mpsc::sync_channel::<()>(1), mpsc::sync_channel(1));
    let wait = Mutex::new(wait);
    let app = app.clone();
    let write = move |_: &mut WriteTx<'_>| {
        let _ = begun.send(());
        let _ = wait.lock().unwrap().recv();
        Ok::<_, Error>(())
    };
    let mut write = Box::pin(async move { app.store.write(stamp(), write).await.map(drop) });
    assert!(write.as_mut().now_or_never().is_none());
    is_begun.recv().unwrap();
    (write, let_go)
}

/// A write that waits behind the one that is held.
fn waiting(app: &App, lane: Lane) -> impl Future<Output = Result<(), Error>> + use<> {
    let app = app.clone();
    let nothing = |_: &mut WriteTx<'_>| Ok::<_, Error>(());
    let mut write = Box::pin(async move { app.store.write_in(lane, stamp(), nothing).await.map(drop) });
    assert!(write.as_mut().now_or_never().is_none());
    write
}

#[tokio::test]
async fn reports_wait_while_the_store_is_far_behind_and_nothing_of_them_is_lost() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    bench.app.record().await.unwrap();
    tokio::time::pause();
    let (first, let_go) = held(&bench.app);
    let second = waiting(&bench.app, Lane::Control);
    tokio::time::advance(Duration::from_secs(5)).await;

    bench
        .app
        .items(&session, ItemReport { seq: 1, items: vec![item(1)], complete: true, traces: Vec::new() });
    assert!(bench.app.record().now_or_never().is_some(), "there is nothing else to be written");
    bench.app.closed(&session, &crate::session::ports::Closed::Goodbye(liveness::Closed::Stopped));
    let mut record = Box::pin(bench.app.record());
    assert!(record.as_mut().now_or_never().is_none(), "who is heard is written all the same");
    let_go.send(()).unwrap();
    let (first, second, record) = tokio::join!(first, second, record);
    first.and(second).and(record).unwrap();
    let stored = bench.stored(id).await;
    assert_eq!((stored.liveness.state, stored.items.len()), (liveness::State::Offline, 0));
    assert!(bench.app.metrics.encode().contains("muster_shed_total{lane=\"reports\"} 1"));

    bench.app.record().await.unwrap();
    assert_eq!(bench.stored(id).await.items.len(), 1, "when the store has caught up");
}

#[tokio::test]
async fn the_lower_lanes_are_told_when_to_come_again_and_the_higher_ones_wait() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    tokio::time::pause();
    let (first, let_go) = held(&bench.app);
    let second = waiting(&bench.app, Lane::Brake);
    let sha256 = Sha256::of(b"x");
    for (seconds, shed) in [(0, ""), (1, "e"), (1, "ea"), (2, "rea")] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        for (lane, letter) in [
            (Lane::Enrollment, "e"),
            (Lane::Artifacts, "a"),
            (Lane::Reports, "r"),
            (Lane::Control, "c"),
            (Lane::Brake, "b"),
        ] {
            let answer = bench.app.has_time_for(lane);
            assert_eq!(answer.is_err(), shed.contains(letter), "{}: {answer:?}", lane.word());
        }
    }
    let refused = bench.app.artifact(id, "root.json".to_owned(), 0).await.unwrap_err();
    let Error::Later { reason, after, .. } = refused else { panic!("{refused}") };
    assert_eq!((reason, after), (Reason::Overloaded, Duration::from_secs(4)));
    let refused = bench.app.read_blob_for(id, sha256, 0).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::PermissionDenied, .. }), "{refused}");
    let_go.send(()).unwrap();
    let (first, second) = tokio::join!(first, second);
    first.and(second).unwrap();
    bench.app.has_time_for(Lane::Enrollment).unwrap();
}

#[tokio::test]
async fn a_node_for_which_there_is_no_room_is_given_its_turn_and_one_that_is_here_comes_in() {
    let bench = Bench::new().await;
    let mut nodes = Vec::new();
    for number in 1..=63 {
        nodes.push(bench.node(number).await);
    }
    let mut sessions = Vec::new();
    for (n, id) in nodes[..62].iter().enumerate() {
        bench.app.admit_session(*id).unwrap();
        sessions.push(bench.hello(*id, &hello(ledger(n as u128 + 1, 1))).unwrap());
    }
    tokio::time::pause();
    let turns: Vec<_> = (0..3)
        .map(|_| match bench.app.admit_session(nodes[62]).unwrap_err() {
            Error::Later { reason: Reason::Overloaded, after, .. } => after.as_millis(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(turns, [0, 10, 20], "one after another");
    bench.app.admit_session(nodes[0]).expect("it takes nobody's place");
    bench.app.closed(&sessions[0].0, &crate::session::ports::Closed::Lost);
    bench.app.admit_session(nodes[62]).unwrap();
}
