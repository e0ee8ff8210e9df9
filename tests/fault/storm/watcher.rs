//! Who watches the fleet from the moment at which the control planes answer, and is told whatever
//! becomes of a node.

use std::time::Duration;

use muster_proto::admin::v1::{self as pb, Liveness, watch_nodes_response::Event};
use muster_tests::eventually::{LONG, eventually};
use tokio::{sync::watch, task::JoinHandle};
use tonic::Streaming;

use super::fleet::Fleet;

/// When nothing has come for so long, all has come.
const QUIET: Duration = Duration::from_secs(1);

/// What a watcher was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Nodes as they are.
    pub(super) events: u64,
    /// Of them late.
    pub(super) late: u64,
    /// Nodes that were said to be gone, and why.
    pub(super) gone: Vec<String>,
}

/// A watcher at work.
pub(super) struct Watcher {
    stop: watch::Sender<bool>,
    task: JoinHandle<Told>,
}

impl Watcher {
    /// Begins, with whichever control plane comes last.
    #[allow(clippy::disallowed_methods)] // a test's own task, awaited in `end`
    pub(super) async fn start(fleet: &Fleet) -> Self {
        let operator = fleet.planes.last().expect("there is one").operator().await;
        let nodes = &operator.nodes;
        let news = eventually("the fleet is watched", LONG, || async {
            nodes.clone().watch_nodes(pb::WatchNodesRequest::default()).await.ok()
        });
        let news = news.await.into_inner();
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(look(news, stopped)) }
    }

    /// Ends when it was told all there is.
    pub(super) async fn end(self) -> Told {
        self.stop.send_replace(true);
        self.task.await.expect("the watcher ends")
    }
}

async fn look(mut news: Streaming<pb::WatchNodesResponse>, stopped: watch::Receiver<bool>) -> Told {
    let mut told = Told::default();
    loop {
        let next = tokio::time::timeout(QUIET, news.message()).await;
        let is_over = *stopped.borrow();
        match next {
            Ok(Ok(Some(message))) => told.hear(message),
            Ok(other) => panic!("the watch ended: {other:?}"),
            Err(_) if is_over => return told,
            Err(_) => {}
        }
    }
}

impl Told {
    fn hear(&mut self, message: pb::WatchNodesResponse) {
        let Some(Event::Upserted(node)) = message.event else { return };
        self.events += 1;
        let connection = node.connection.unwrap_or_default();
        match connection.liveness() {
            Liveness::Offline | Liveness::Expired => {
                self.gone.push(format!("{}: {}", node.id, connection.reason));
            }
            Liveness::Late => self.late += 1,
            _ => {}
        }
    }
}
