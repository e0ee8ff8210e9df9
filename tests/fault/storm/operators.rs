//! Operators who call at a steady rate, whatever becomes of the calls before: a call that is late
//! keeps no other one from being made, and its time runs from when it was to be made.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_common::clock::{Clock, Instant};
use muster_node_agent::dial;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    eventually::eventually,
    operator::{Operator, reason},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustls::ClientConfig;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};
use tonic::Status;

use super::fleet::Fleet;

/// Between two calls.
const EVERY: Duration = Duration::from_millis(20);
/// A call that takes longer has failed.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// Until so many calls were made as are waited for.
const CALLED_WITHIN: Duration = Duration::from_secs(120);
/// What is called, in turn: a read of one node, of many, a write, and somebody who comes anew.
const TURN: [Call; 10] = [
    Call::GetNode,
    Call::ListNodes,
    Call::UpdateNode,
    Call::GetNode,
    Call::GetSystem,
    Call::GetNode,
    Call::ListNodes,
    Call::UpdateNode,
    Call::GetNode,
    Call::Connect,
];
/// Nodes of one page.
const PAGE: i32 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    GetNode,
    ListNodes,
    UpdateNode,
    GetSystem,
    /// A connection of its own, with a handshake, and a first call.
    Connect,
}

/// What callers have seen.
#[derive(Debug, Default)]
pub(super) struct Calls {
    times: BTreeMap<Call, Vec<Duration>>,
    /// Why calls failed, and how many of them.
    pub(super) failed: BTreeMap<String, usize>,
}

/// How long calls of a kind took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) count: usize,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) most: Duration,
}

struct Shared {
    operators: Vec<Operator>,
    addresses: Vec<SocketAddr>,
    tls: Arc<ClientConfig>,
    /// Ids of nodes that are read and changed.
    nodes: Vec<String>,
    calls: Mutex<Calls>,
}

/// Callers at work.
pub(super) struct Callers {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Callers {
    /// Begins; there is a connection to each control plane.
    #[allow(clippy::disallowed_methods)] // a test's own task, awaited in `end`
    pub(super) async fn start(fleet: &Fleet, seed: u64) -> Self {
        let operators = fleet.operators().await;
        let shared = Arc::new(Shared {
            nodes: operators[0].select("").await,
            operators,
            addresses: fleet.planes.iter().map(|plane| plane.addresses().operators).collect(),
            tls: Arc::new(fleet.planes[0].operator_tls()),
            calls: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(call_for_ever(Arc::clone(&shared), StdRng::seed_from_u64(seed), stopped));
        Self { shared, stop, task }
    }

    /// Waits until so many calls were answered.
    pub(super) async fn until(&self, count: usize) {
        eventually("operators were answered", CALLED_WITHIN, || {
            let made = self.shared.calls().times.values().map(Vec::len).sum::<usize>();
            std::future::ready((made >= count).then_some(()))
        })
        .await;
    }

    /// Ends when all calls that were made are over.
    pub(super) async fn end(self) -> Calls {
        self.stop.send_replace(true);
        self.task.await.expect("the callers end");
        std::mem::take(&mut *self.shared.calls())
    }
}

async fn call_for_ever(shared: Arc<Shared>, mut random: StdRng, mut stopped: watch::Receiver<bool>) {
    let (mut every, mut calls) = (tokio::time::interval(EVERY), JoinSet::new());
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0.. {
        let at = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            at = every.tick() => at,
        };
        let node = shared.nodes[random.random_range(0..shared.nodes.len())].clone();
        calls.spawn(one(Arc::clone(&shared), number, node, at));
        while let Some(done) = calls.try_join_next() {
            done.expect("a call ends");
        }
    }
    while let Some(done) = calls.join_next().await {
        done.expect("a call ends");
    }
}

async fn one(shared: Arc<Shared>, number: usize, node: String, at: Instant) {
    let call = TURN[number % TURN.len()];
    // By the round, so that each of them is asked everything.
    let plane = (number / TURN.len() + number) % shared.operators.len();
    let asked = tokio::time::timeout(GIVEN_UP, shared.ask(call, plane, node, number)).await;
    let took = Clock::System.monotonic() - at;
    let mut calls = shared.calls();
    match asked {
        Ok(Ok(())) => calls.times.entry(call).or_default().push(took),
        Ok(Err(why)) => *calls.failed.entry(format!("{call:?}: {why}")).or_default() += 1,
        Err(_) => *calls.failed.entry(format!("{call:?}: no answer")).or_default() += 1,
    }
}

impl Shared {
    fn calls(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, call: Call, plane: usize, id: String, number: usize) -> Result<(), String> {
        let operator = &self.operators[plane];
        let done = match call {
            Call::GetNode => operator.nodes.clone().get_node(pb::GetNodeRequest { id }).await.map(drop),
            Call::ListNodes => {
                let request = pb::ListNodesRequest { page_size: PAGE, ..Default::default() };
                operator.nodes.clone().list_nodes(request).await.map(drop)
            }
            Call::UpdateNode => {
                let labels = [("storm".to_owned(), number.to_string())].into();
                let node = pb::Node { id, labels, ..Default::default() };
                let request = pb::UpdateNodeRequest { node: Some(node), ..Default::default() };
                operator.nodes.clone().update_node(request).await.map(drop)
            }
            Call::GetSystem => operator.system.clone().get_system(pb::GetSystemRequest {}).await.map(drop),
            Call::Connect => {
                let address = self.addresses[plane].to_string();
                let channel = dial::channel(&address, Arc::clone(&self.tls)).await;
                let operator = Operator::over(channel.map_err(|error| error.to_string())?);
                operator.system.clone().get_system(pb::GetSystemRequest {}).await.map(drop)
            }
        };
        done.map_err(|status| why(&status))
    }
}

fn why(status: &Status) -> String {
    reason(status).map_or_else(|| status.to_string(), |reason| format!("{reason}: {}", status.message()))
}

impl Calls {
    /// Of each kind.
    pub(super) fn by_kind(&self) -> impl Iterator<Item = (Call, Times)> {
        self.times.iter().map(|(call, times)| (*call, Times::of(times.clone())))
    }

    /// Of all kinds together.
    pub(super) fn all(&self) -> Times {
        Times::of(self.times.values().flatten().copied().collect())
    }
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |hundredth: usize| times.get(times.len() * hundredth / 100).copied().unwrap_or_default();
        Self { count: times.len(), p50: at(50), p99: at(99), most: times.last().copied().unwrap_or_default() }
    }
}
