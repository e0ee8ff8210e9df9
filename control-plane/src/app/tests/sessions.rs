//! Sessions as the use-cases see them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures_util::{Stream, StreamExt as _};
use muster_common::ids::NodeId;

use super::bench::{Bench, alice, hello, ledger};
use crate::{
    app::{App, fleet::Entry},
    session::{
        frames::{Caller, Inbound, Outbound, Refusal},
        line::Line,
        reactor::{Frame, Ports, Reactor},
    },
};

/// A session of a node that has said Hello and says nothing more.
pub(super) fn session(app: &App, node: NodeId) -> Pin<Box<dyn Stream<Item = Result<Frame, Refusal>>>> {
    let app = Arc::new(app.clone());
    let caller = Caller {
        node,
        serial: "1".to_owned(),
        remote: ([127, 0, 0, 1], 1).into(),
        key_exchange: "X25519",
        line: Line::default(),
        is_unsure: false,
    };
    let said: Vec<Result<Inbound, Refusal>> = vec![Ok(Inbound::Hello(Box::new(hello(ledger(1, 1)))))];
    let messages = futures_util::stream::iter(said).chain(futures_util::stream::pending());
    let ports = Ports { inbox: Arc::clone(&app) as _, desk: app };
    Box::pin(Reactor::new(caller, messages, ports))
}

/// Counts how often it is woken while the entry of a node is locked, and while it is not.
struct Watchman {
    entry: Arc<parking_lot::Mutex<Entry>>,
    locked: AtomicUsize,
    free: AtomicUsize,
}

impl Wake for Watchman {
    fn wake(self: Arc<Self>) {
        let count = if self.entry.is_locked() { &self.locked } else { &self.free };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_newer_session_takes_its_place_in_hub_and_memory_as_one_step() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let mut older = session(&bench.app, id);
    assert!(matches!(older.next().await, Some(Ok(Frame { body: Outbound::Welcome(_), .. }))));
    let entry = bench.app.fleet.get(id).unwrap();
    let watchman = Arc::new(Watchman { entry, locked: AtomicUsize::new(0), free: AtomicUsize::new(0) });
    let waker = Waker::from(Arc::clone(&watchman));
    assert!(older.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
    let (newer, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    // The hub tells the older one while memory is locked: no third Hello comes between the two.
    let woken = (watchman.locked.load(Ordering::Relaxed), watchman.free.load(Ordering::Relaxed));
    assert_eq!(woken, (1, 0));
    drop(older);
    assert_eq!(bench.app.hub.get(id).map(|handle| handle.id()), Some(newer.id()));
    assert_eq!(bench.app.fleet.with(id, |entry| entry.is_live(newer.id())), Some(true));
}

#[tokio::test]
async fn a_removed_node_is_told_the_operators_reason() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let mut session = session(&bench.app, id);
    assert!(matches!(session.next().await, Some(Ok(Frame { body: Outbound::Welcome(_), .. }))));
    bench.app.remove_node(&alice(), id, String::new(), "sold".to_owned()).await.unwrap();
    let told = loop {
        match session.next().await.expect("a last word") {
            Ok(Frame { body: Outbound::Removed { reason }, .. }) => break reason,
            Ok(_) => {}
            Err(refusal) => panic!("{refusal}"),
        }
    };
    assert_eq!(told, "sold");
}
