//! Who watches all the time: the fleet, the audit, and the hosts that are to be barred. A stream
//! that breaks, or is silent, is taken up again where it was, of the next control plane; and so is one
//! that has been watched for a while.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_common::clock::{Clock, Instant, UnixMillis};
use muster_proto::admin::v1::{
    self as pb, Liveness, watch_audit_entries_response::Event as Fed, watch_nodes_response::Event as Seen,
};
use muster_tests::{
    cable::Cable,
    eventually::{LONG, eventually},
    history::{Recorder, What},
    swarm::Counters,
};
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::{client::Client, lab::Lab, seats::Seat, values};

/// A stream that is silent for so long is taken up anew.
const SILENT: Duration = Duration::from_secs(3);
/// A stream is watched for so long.
const STAY: Duration = Duration::from_secs(2);
/// How often is looked whether a barred host was welcomed, or has a session.
const LOOK: Duration = Duration::from_millis(20);

/// Watchers. Dropped: they look away.
pub(crate) struct Watchers {
    tasks: Vec<JoinHandle<()>>,
    /// How far each watcher of the audit is.
    far: Vec<Arc<AtomicU64>>,
    /// The values that the watcher of the fleet was sent last.
    shown: Arc<Mutex<HashMap<String, String>>>,
    /// How often a stream was taken up again.
    pub(crate) again: Arc<AtomicU64>,
}

impl Watchers {
    #[allow(clippy::disallowed_methods)] // a test's own tasks, ended with their owner
    pub(crate) fn begin(lab: &Lab) -> Self {
        let tls = Arc::new(lab.plane().operator_tls());
        let direct: Vec<SocketAddr> = lab.seats.iter().map(Seat::operators).collect();
        let cabled: Vec<SocketAddr> = lab.cables[1].iter().map(Cable::address).collect();
        let (recorder, again) = (lab.recorder.clone(), Arc::<AtomicU64>::default());
        let not = lab.outcasts.iter().map(|outcast| outcast.node.clone()).collect();
        let shown = Arc::<Mutex<HashMap<String, String>>>::default();
        let fleet = Fleet {
            recorder: recorder.clone(),
            not,
            known: HashMap::new(),
            held: HashMap::new(),
            shown: Arc::clone(&shown),
        };
        let client = Client::of_all(&direct, 0, Arc::clone(&tls));
        let mut tasks = vec![tokio::spawn(fleet.watch(client, Arc::clone(&again)))];
        for (plane, outcast) in lab.outcasts.iter().enumerate() {
            let (counters, node) = (Arc::clone(&outcast.host.counters), outcast.node.clone());
            let client = Client::of_one(plane, direct[plane], Arc::clone(&tls));
            tasks.push(tokio::spawn(welcomes(recorder.clone(), plane, counters, node.clone())));
            tasks.push(tokio::spawn(sessions(recorder.clone(), client, node)));
        }
        let mut far = Vec::new();
        for (watcher, addresses) in [direct, cabled].into_iter().enumerate() {
            let place = Arc::<AtomicU64>::default();
            far.push(Arc::clone(&place));
            let audit = Audit { recorder: recorder.clone(), watcher, place, again: Arc::clone(&again) };
            let client = Client::of_all(&addresses, watcher, Arc::clone(&tls));
            tasks.push(tokio::spawn(audit.watch(client)));
        }
        Self { tasks, far, shown, again }
    }

    /// Waits until all watchers of the audit are so far, and the one of the fleet was sent these values.
    pub(crate) async fn until(&self, place: u64, values: &HashMap<String, String>) {
        eventually("watchers are sent all there is", LONG, || {
            for task in &self.tasks {
                assert!(!task.is_finished(), "a watcher has failed; it says why above");
            }
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            let all = self.far.iter().all(|far| far.load(Ordering::Relaxed) >= place)
                && values.iter().all(|(key, value)| shown.get(key) == Some(value));
            std::future::ready(all.then_some(()))
        })
        .await;
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The next message, unless the stream ends, breaks or is silent, or was watched for long enough.
async fn next<T>(stream: &mut Streaming<T>, begun: Instant) -> Option<T> {
    let left = (begun + STAY).saturating_duration_since(Clock::System.monotonic());
    match tokio::time::timeout(SILENT.min(left), stream.message()).await {
        Ok(Ok(message)) => message,
        Ok(Err(status)) => {
            can_go_on(&status);
            None
        }
        Err(_) => None,
    }
}

/// A place in the feed serves for as long as the history is the same.
fn can_go_on(status: &Status) {
    assert!(status.code() != tonic::Code::OutOfRange, "a watch cannot be taken up again: {status}");
}

/// Whoever watches the fleet.
struct Fleet {
    recorder: Recorder,
    /// The nodes that others look at.
    not: HashSet<String>,
    known: HashMap<String, (Liveness, String)>,
    /// By which control plane each node is held.
    held: HashMap<String, usize>,
    shown: Arc<Mutex<HashMap<String, String>>>,
}

impl Fleet {
    async fn watch(mut self, mut client: Client, again: Arc<AtomicU64>) {
        let mut resume_token = String::new();
        loop {
            let request = pb::WatchNodesRequest { resume_token: resume_token.clone(), ..Default::default() };
            let watch = client.ask(|| {}, |to| async move { to.nodes.clone().watch_nodes(request).await });
            let Ok(mut stream) = watch.await else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let begun = Clock::System.monotonic();
            while let Some(message) = next(&mut stream, begun).await {
                resume_token = message.resume_token;
                if let Some(Seen::Upserted(node)) = message.event {
                    self.saw(client.plane(), &node);
                }
            }
            again.fetch_add(1, Ordering::Relaxed);
            client.hang_up();
        }
    }

    fn saw(&mut self, plane: usize, node: &pb::Node) {
        let (key, value) = (values::node_key(&node.id), values::of_node(node));
        self.recorder.saw(What::Shown { plane, key: key.clone(), value: value.clone() });
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
        let Some(connection) = node.connection.as_ref().filter(|_| !self.not.contains(&node.id)) else {
            return;
        };
        // Its name is its number. One that is alone says none.
        if let Some(by) = connection.replica.strip_prefix('r').and_then(|number| number.parse().ok())
            && self.held.insert(node.id.clone(), by) != Some(by)
        {
            self.recorder.saw(What::Held { by, node: node.id.clone() });
        }
        let now = (connection.liveness(), connection.session_id.clone());
        let before = self.known.insert(node.id.clone(), now.clone());
        // How it is when it is first seen is told, too.
        let before = before.unwrap_or((Liveness::Unspecified, now.1.clone()));
        if before.0 != now.0 {
            let since = connection.since.unwrap_or_default();
            let at =
                self.recorder.moment(UnixMillis(since.seconds * 1000 + i64::from(since.nanos) / 1_000_000));
            let state = now.0.as_str_name().trim_start_matches("LIVENESS_").to_lowercase();
            self.recorder.saw_at(at, What::Liveness { plane, node: node.id.clone(), state });
        }
        if before.1 != now.1 {
            self.recorder.saw(What::Session { plane, node: node.id.clone(), session: now.1 });
        }
    }
}

/// Whoever watches the audit.
struct Audit {
    recorder: Recorder,
    watcher: usize,
    place: Arc<AtomicU64>,
    again: Arc<AtomicU64>,
}

impl Audit {
    async fn watch(self, mut client: Client) {
        let mut resume_token = String::new();
        loop {
            let request =
                pb::WatchAuditEntriesRequest { resume_token: resume_token.clone(), ..Default::default() };
            let watch =
                client.ask(|| {}, |to| async move { to.audit.clone().watch_audit_entries(request).await });
            let Ok(mut stream) = watch.await else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let begun = Clock::System.monotonic();
            while let Some(message) = next(&mut stream, begun).await {
                resume_token = message.resume_token;
                let Some(Fed::Entry(entry)) = message.event else { continue };
                let (watcher, plane) = (self.watcher, client.plane());
                let (place, hash) = (entry.place, entry.hash.to_vec());
                self.recorder.saw(What::Fed { watcher, plane, place, hash });
                self.place.store(place, Ordering::Relaxed);
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            client.hang_up();
        }
    }
}

/// Sees when a host is welcomed by this control plane, as it sees it itself.
async fn welcomes(recorder: Recorder, plane: usize, counters: Arc<Counters>, node: String) {
    let mut before = counters.opened.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = counters.opened.load(Ordering::Relaxed);
        if now != before {
            recorder.saw(What::Welcomed { plane, node: node.clone() });
        }
        before = now;
    }
}

/// Sees whether a host has a session, at the time at which that was asked.
async fn sessions(recorder: Recorder, mut client: Client, node: String) {
    let asked = Mutex::new(Duration::ZERO);
    loop {
        let request = pb::GetNodeRequest { id: node.clone() };
        let begins = || *asked.lock().unwrap_or_else(PoisonError::into_inner) = recorder.now();
        let answer = client.ask(begins, |to| async move { to.nodes.clone().get_node(request).await }).await;
        let connection = answer.ok().and_then(|answer| answer.node).and_then(|node| node.connection);
        if let Some(connection) = connection {
            let at = *asked.lock().unwrap_or_else(PoisonError::into_inner);
            let (plane, session) = (client.plane(), connection.session_id);
            recorder.saw_at(at, What::Session { plane, node: node.clone(), session });
        }
        tokio::time::sleep(LOOK * 5).await;
    }
}
