//! Nodes that another replica takes while this one has something to write of them.

use std::{
    pin::{Pin, pin},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    task::Context,
};

use futures_util::poll;
use muster_common::ids::ReplicaId;
use muster_domain::{audit::Note, certificate::NodeCertificate};
use muster_store::{ReadNodeSessions as _, WriteNodes as _};
use parking_lot::Mutex;

use super::*;
use crate::{
    app::{
        Error,
        tests::bench::{issued, stamp},
    },
    session::frames::ItemReport,
};

/// Who holds a node, by the store.
pub(super) async fn held(bench: &Bench, id: NodeId) -> Option<ReplicaId> {
    let read = bench.app.store.read(move |tx| tx.node_session_get(id).map_err(Error::from));
    read.await.unwrap().map(|held| held.replica)
}

fn holder(bench: &Bench, id: NodeId) -> Holder {
    bench.app.fleet.with(id, |entry| entry.holder).unwrap()
}

/// Something of this session that only a write of its node tells.
pub(super) fn news(bench: &Bench, session: &Handle, reason: &str) {
    let condition = Condition {
        kind: "ClockOk".to_owned(),
        holds: Some(false),
        reason: reason.to_owned(),
        message: String::new(),
        since: NOW,
    };
    bench.app.heard(session, Heartbeat { conditions: vec![condition], ..silence() });
}

type Job = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A job in the store that goes on until it is let go.
pub(super) struct Jam {
    go: SyncSender<()>,
    job: Job,
}

impl Jam {
    /// Nothing more is written by this replica.
    pub(super) fn of_writes(bench: &Bench) -> Self {
        let ((go, wait), (begin, begun), store) = (sync_channel(1), sync_channel(1), bench.app.store.clone());
        let wait = Mutex::new(wait);
        let job = Box::pin(async move {
            let write = store.write(stamp(), move |tx| {
                let _ = begin.send(());
                let _ = wait.lock().recv();
                Ok::<_, Error>(tx.audit(Note { subject: "test".to_owned(), ..Note::default() })?)
            });
            write.await.map(drop)
        });
        Self::begin(go, job, &begun)
    }

    /// Nothing is read for the process itself, and nothing more taken in to be read.
    pub(super) async fn of_reads(bench: &Bench) -> Self {
        let ((go, wait), (begin, begun), store) = (sync_channel(1), sync_channel(1), bench.app.store.clone());
        let job = Box::pin(async move {
            let read = store.read_own(move |_| {
                let _ = begin.send(());
                let _ = wait.recv();
                Ok::<_, Error>(())
            });
            read.await
        });
        let jam = Self::begin(go, job, &begun);
        while poll!(pin!(bench.app.store.read_own(|_| Ok::<_, Error>(())))).is_pending() {}
        jam
    }

    fn begin(go: SyncSender<()>, mut job: Job, begun: &Receiver<()>) -> Self {
        let waker = futures_util::task::noop_waker();
        assert!(job.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        begun.recv().unwrap();
        Self { go, job }
    }

    /// All that was handed in meanwhile is done.
    pub(super) async fn let_go(self, bench: &Bench) {
        self.go.send(()).unwrap();
        self.job.await.unwrap();
        bench.write(|_| Ok(())).await;
        while bench.app.store.read_own(|_| Ok::<_, Error>(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_node_whose_taker_let_go_of_it_before_that_was_seen_is_held_again_and_said_to_be_there() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let here = connect(&pair.0, id);
    settle(&pair).await;
    let there = connect(&pair.1, id);
    pair.1.app.record().await.unwrap();
    news(&pair.0, &here, "Behind");
    let jam = Jam::of_writes(&pair.0);
    let mut record = pin!(pair.0.app.record());
    assert!(poll!(&mut record).is_pending());
    jam.let_go(&pair.0).await;
    // The write was barred, and what has barred it goes before that is looked at.
    pair.1.app.closed(&there, &Closed::Goodbye(liveness::Closed::Stopped));
    pair.1.app.record().await.unwrap();
    assert_eq!(held(&pair.0, id).await, None);
    record.await.unwrap();
    assert_eq!(held(&pair.0, id).await, Some(pair.0.app.replicas.id()));
    settle(&pair).await;
    assert_eq!([state(&pair.0, id), state(&pair.1, id)], [liveness::State::Online; 2]);
    let conditions = pair.1.app.node(&whole(), id).unwrap().conditions;
    assert_eq!(conditions.first().map(|it| it.reason.as_str()), Some("Behind"), "nor is its news lost");
}

#[tokio::test]
async fn what_cannot_be_read_again_now_is_read_later_whatever_else_was_in_its_batch() {
    let pair = Bench::pair().await;
    let (taken, replaced) = (node(&pair).await, pair.0.node(2).await);
    let next = NodeCertificate { current: issued("1", 1), next: Some(Box::new(issued("2", 2))) };
    pair.0.write(move |tx| Ok(tx.node_set_certificate(replaced, &next)?)).await;
    settle(&pair).await;
    let here = connect(&pair.0, taken);
    settle(&pair).await;
    connect(&pair.1, taken);
    pair.1.app.record().await.unwrap();
    news(&pair.0, &here, "Behind");
    pair.0.hello_with(replaced, "2", &greeting()).unwrap();
    let other = NodeCertificate { current: issued("1", 1), next: Some(Box::new(issued("3", 3))) };
    let stored = other.clone();
    pair.0.write(move |tx| Ok(tx.node_set_certificate(replaced, &stored)?)).await;
    let jam = Jam::of_reads(&pair.0).await;
    pair.0.app.record().await.unwrap_err();
    jam.let_go(&pair.0).await;
    pair.0.app.record().await.unwrap();
    assert_eq!(holder(&pair.0, taken), Holder::Other(pair.1.app.replicas.id()));
    let known = pair.0.app.fleet.with(replaced, |entry| entry.node.certificate.clone());
    assert_eq!(known, Some(other.without_leaves()));
}

#[tokio::test]
async fn of_a_node_that_is_anothers_nothing_waits_to_be_written() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    connect(&pair.0, id);
    settle(&pair).await;
    // It is in quarantine: each replica sees that, and only its holder says so.
    let before = *pair.1.app.store.committed().borrow();
    pair.1.app.fleet.with(id, |mut entry| {
        let now = pair.1.app.clock.monotonic();
        pair.1.app.observe(&mut entry, liveness::Event::Quarantined, now);
    });
    pair.1.app.record().await.unwrap();
    assert_eq!(pair.1.app.fleet.with(id, |entry| entry.dirty.clone()), Some(Default::default()));
    assert_eq!(*pair.1.app.store.committed().borrow(), before);
}

#[tokio::test]
async fn of_two_that_say_that_they_hold_a_node_the_one_that_knew_of_the_other_has_it() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    for knows in [true, false] {
        let there = connect(&pair.1, id);
        settle(&pair).await;
        if knows {
            connect(&pair.0, id);
            // What the older session still says comes while the newer one is not stored yet.
            let items = vec![crate::app::tests::reports::item(1)];
            pair.1.app.items(&there, ItemReport { seq: 1, items, complete: true, traces: Vec::new() });
        } else {
            connect(&pair.0, id);
            news(&pair.1, &there, "Behind");
        }
        pair.1.app.record().await.unwrap();
        pair.0.app.follow().await.unwrap();
        assert_eq!(holder(&pair.0, id), Holder::Us);
        assert_eq!(pair.0.app.fleet.with(id, |entry| entry.is_disputed), Some(true), "knows: {knows}");
        settle(&pair).await;
        let (winner, loser) = if knows { (&pair.0, &pair.1) } else { (&pair.1, &pair.0) };
        assert_eq!(holder(winner, id), Holder::Us, "knows: {knows}");
        assert_eq!(holder(loser, id), Holder::Other(winner.app.replicas.id()), "knows: {knows}");
        assert_eq!(held(&pair.0, id).await, Some(winner.app.replicas.id()), "knows: {knows}");
    }
}

#[tokio::test]
async fn what_an_operator_edits_at_once_is_seen_at_once_of_a_node_that_tells_another_replica() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let there = connect(&pair.1, id);
    settle(&pair).await;
    let from = *pair.0.app.feed.applied().borrow();
    let items = vec![crate::app::tests::reports::item(1)];
    pair.1.app.items(&there, ItemReport { seq: 1, items, complete: true, traces: Vec::new() });
    pair.1.app.record().await.unwrap();
    let told = *pair.1.app.store.committed().borrow();
    // It is edited between two looks at the store, and the second one sees that.
    let labels: muster_domain::labels::Labels = [("n".to_owned(), "2".to_owned())].into_iter().collect();
    pair.1.write(move |tx| Ok(tx.node_edit(id, "name-2", &labels)?)).await;
    pair.0.app.take_in_told(from, told).await.unwrap();
    let seen = pair.0.app.node(&whole(), id).unwrap().node;
    assert_eq!(seen.items.len(), 1);
    assert_eq!((seen.display_name.as_str(), seen.labels.len()), ("name-2", 1));
}
