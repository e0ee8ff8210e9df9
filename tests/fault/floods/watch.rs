//! What the honest see of a flood, and what it costs.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use muster_common::clock::Clock;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    eventually::{LONG, eventually},
    operator::Operator,
    process::rss_kib,
    swarm::Counters,
};
use tokio::{sync::watch, task::JoinHandle};

use super::HONEST;

/// Between two calls of the probe.
const EVERY: Duration = Duration::from_millis(100);
/// A call that takes longer has failed.
const GIVEN_UP: Duration = Duration::from_secs(20);

/// Looks until it is ended.
pub(crate) struct Watch {
    stop: watch::Sender<bool>,
    task: JoinHandle<Seen>,
    counters: Arc<Counters>,
    opened: u64,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The longest answer to the probe.
    pub(crate) longest: Duration,
    /// Why it was not answered.
    pub(crate) failed: Option<String>,
    /// The most memory at once over that of the beginning.
    pub(crate) memory_kib: u64,
    /// Sessions that were opened again.
    pub(crate) reopened: u64,
    /// The most honest nodes at once that were not online.
    pub(crate) late: usize,
}

impl Watch {
    /// Begins. All honest nodes are online.
    #[allow(clippy::disallowed_methods)] // a test's own task, awaited in `end`
    pub(crate) async fn begin(process: u32, operator: &Operator, counters: &Arc<Counters>) -> Self {
        let online = || async { (not_online(operator).await.ok()? == 0).then_some(()) };
        eventually("the honest are online", LONG * 2, online).await;
        let (stop, stopped) = watch::channel(false);
        let opened = counters.opened.load(Ordering::Relaxed);
        let task = tokio::spawn(look(process, operator.clone(), stopped));
        Self { stop, task, counters: Arc::clone(counters), opened }
    }

    /// Ends; answers what was seen.
    pub(crate) async fn end(self) -> Seen {
        self.stop.send_replace(true);
        let mut seen = self.task.await.expect("the probe ends");
        seen.reopened = self.counters.opened.load(Ordering::Relaxed) - self.opened;
        seen
    }
}

async fn look(process: u32, operator: Operator, mut stopped: watch::Receiver<bool>) -> Seen {
    let (clock, mut seen, before) = (Clock::System, Seen::default(), rss_kib(process));
    for n in 0_u64.. {
        let begun = clock.monotonic();
        let mut system = operator.system.clone();
        match tokio::time::timeout(GIVEN_UP, system.get_system(pb::GetSystemRequest {})).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => seen.failed = Some(status.to_string()),
            Err(_) => seen.failed = Some("no answer".to_owned()),
        }
        seen.longest = seen.longest.max(clock.monotonic() - begun);
        if n % 5 == 0 {
            match not_online(&operator).await {
                Ok(late) => seen.late = seen.late.max(late),
                Err(status) => seen.failed = Some(status.to_string()),
            }
        }
        seen.memory_kib = seen.memory_kib.max(rss_kib(process).saturating_sub(before));
        if tokio::time::timeout(EVERY, stopped.wait_for(|stop| *stop)).await.is_ok() {
            break;
        }
    }
    seen
}

/// Honest nodes that are late, or gone.
async fn not_online(operator: &Operator) -> Result<usize, tonic::Status> {
    let request =
        pb::ListNodesRequest { selector: "honest=yes".to_owned(), page_size: 1000, ..Default::default() };
    let nodes = operator.nodes.clone().list_nodes(request).await?.into_inner().nodes;
    let is_online =
        |node: &&pb::Node| node.connection.as_ref().is_some_and(|it| it.liveness() == pb::Liveness::Online);
    Ok(HONEST - nodes.iter().filter(is_online).count())
}
