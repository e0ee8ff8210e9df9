//! A steady stream of writes and readings, some over a cable, each with an operator's program
//! of its own that records what it sent, what came of it and when.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use muster_proto::admin::v1 as pb;
use muster_tests::{
    cable::Cable,
    history::{Outcome, Read, Recorder, What, Write},
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use rustls::ClientConfig;
use tokio::task::JoinHandle;

use super::{client::Client, hosts, lab::Lab, orders, seats::Seat, values, watchers::Watchers};

/// Nodes of the swarm whose names change; one more is raced for.
const NAMED: usize = 3;
/// How long all may take to end, once nobody makes trouble any more.
const TO_END: Duration = Duration::from_secs(60);

/// Whoever takes part.
pub(crate) struct Parties {
    pub(crate) writers: Writers,
    pub(crate) watchers: Watchers,
}

impl Parties {
    /// Has all writers and readers end what they are at.
    pub(crate) async fn end_writers(&self) {
        self.writers.shared.stop.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.writers.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            tokio::time::timeout(TO_END, task).await.expect("it ends").expect("it did not fail");
        }
    }
}

/// Writers and readers.
pub(crate) struct Writers {
    pub(crate) shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What they share.
pub(crate) struct Shared {
    pub(crate) recorder: Recorder,
    pub(crate) ran: PathBuf,
    tls: Arc<ClientConfig>,
    /// Of each control plane.
    direct: Vec<SocketAddr>,
    /// To each of them over a cable.
    by_cable: Vec<SocketAddr>,
    /// Programs that were made.
    clients: AtomicUsize,
    stop: AtomicBool,
    /// Nodes and assignments that are written.
    keys: Vec<Key>,
    /// Versions of the contents of each assignment's bundle.
    versions: Mutex<HashMap<(String, u64), u64>>,
    /// Operations that are known.
    pub(crate) operations: Mutex<Vec<String>>,
}

#[derive(Clone)]
enum Key {
    Node(String),
    Assignment(String),
}

impl Shared {
    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// A program that asks each control plane in turn; each begins with another one.
    pub(crate) fn client(&self) -> Client {
        self.client_of(&self.direct)
    }

    fn client_by_cable(&self) -> Client {
        self.client_of(&self.by_cable)
    }

    fn client_of(&self, addresses: &[SocketAddr]) -> Client {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        Client::of_all(addresses, number, Arc::clone(&self.tls))
    }

    fn wrote(&self, write: Write) {
        self.recorder.saw(What::Write(write));
    }

    /// The version of a content, as it is written.
    pub(crate) fn version(&self, assignment: &str, content: u64) -> String {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(&(assignment.to_owned(), content)).map_or_else(|| "none".to_owned(), u64::to_string)
    }

    fn set_version(&self, assignment: &str, content: u64, version: u64) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert((assignment.to_owned(), content), version);
    }
}

impl Writers {
    #[allow(clippy::disallowed_methods)] // a test's own tasks, awaited in `end_writers`
    pub(crate) fn begin(lab: &Lab, random: &mut StdRng) -> Self {
        let assignments = lab.hosts.iter().map(|home| home.name());
        let raced = lab.nodes[NAMED].clone();
        let nodes = lab.nodes[..=NAMED].iter().cloned().map(Key::Node);
        let shared = Arc::new(Shared {
            recorder: lab.recorder.clone(),
            ran: lab.ran(),
            tls: Arc::new(lab.plane().operator_tls()),
            direct: lab.seats.iter().map(Seat::operators).collect(),
            by_cable: lab.cables[1].iter().map(Cable::address).collect(),
            clients: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            keys: nodes.chain(assignments.clone().map(Key::Assignment)).collect(),
            versions: Mutex::default(),
            operations: Mutex::default(),
        });
        let mut chance = || StdRng::seed_from_u64(random.next_u64());
        let mut tasks = Vec::new();
        for node in &lab.nodes[..NAMED] {
            tasks.push(tokio::spawn(rename(Arc::clone(&shared), node.clone(), chance())));
        }
        for (racer, client) in [shared.client(), shared.client_by_cable()].into_iter().enumerate() {
            tasks.push(tokio::spawn(race(Arc::clone(&shared), client, raced.clone(), racer, chance())));
        }
        for home in &lab.hosts {
            shared.set_version(&home.name(), 0, 1);
            let (name, folder) = (home.name(), home.folder.clone());
            tasks.push(tokio::spawn(configure(Arc::clone(&shared), name, folder, chance())));
        }
        tasks.push(tokio::spawn(orders::give(Arc::clone(&shared), lab.hosts.len(), chance())));
        for (plane, address) in shared.direct.iter().enumerate() {
            let client = Client::of_one(plane, *address, Arc::clone(&shared.tls));
            tasks.push(tokio::spawn(read(Arc::clone(&shared), client, chance())));
        }
        tasks.push(tokio::spawn(read(Arc::clone(&shared), shared.client_by_cable(), chance())));
        Self { shared, tasks: Mutex::new(tasks) }
    }

    /// Reads everything once more, of every control plane.
    pub(crate) async fn read_all(&self) {
        for (plane, address) in self.shared.direct.iter().enumerate() {
            let mut client = Client::of_one(plane, *address, Arc::clone(&self.shared.tls));
            for key in &self.shared.keys {
                read_one(&self.shared, &mut client, key).await;
            }
        }
    }
}

async fn rest(chance: &mut StdRng, millis: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(chance.random_range(millis))).await;
}

/// Gives a node one name after the other, each with a label that goes with it.
async fn rename(shared: Arc<Shared>, node: String, mut chance: StdRng) {
    let mut client = shared.client();
    for number in 0.. {
        if !shared.goes_on() {
            return;
        }
        let labels = [("role", "swarm".to_owned()), (values::NUMBER, number.to_string())];
        let labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
        let value = values::name(number);
        let changed =
            pb::Node { id: node.clone(), display_name: value.clone(), labels, ..Default::default() };
        let request = pb::UpdateNodeRequest { node: Some(changed), ..Default::default() };
        let mut begun = Duration::ZERO;
        let answer = client
            .ask(
                || begun = shared.recorder.now(),
                |to| async move { to.nodes.clone().update_node(request).await },
            )
            .await;
        let (plane, key) = (client.plane(), values::node_key(&node));
        shared.wrote(Write { begun, plane, key, value, over: None, outcome: outcome(&answer) });
        rest(&mut chance, 20..60).await;
    }
}

/// Gives a node a name in the place of the one that was just read: who comes second is refused.
async fn race(shared: Arc<Shared>, mut client: Client, node: String, racer: usize, mut chance: StdRng) {
    for number in 0_u64.. {
        if !shared.goes_on() {
            return;
        }
        rest(&mut chance, 20..60).await;
        let request = pb::GetNodeRequest { id: node.clone() };
        let read = client.ask(|| {}, |to| async move { to.nodes.clone().get_node(request).await }).await;
        let Some(found) = read.ok().and_then(|answer| answer.node) else { continue };
        let value = format!("racer-{racer}-{number}");
        let over = Some(values::of_node(&found));
        let changed = pb::Node {
            id: node.clone(),
            display_name: value.clone(),
            etag: found.etag,
            ..Default::default()
        };
        let request = pb::UpdateNodeRequest { node: Some(changed), ..Default::default() };
        let mut begun = Duration::ZERO;
        let answer = client
            .ask(
                || begun = shared.recorder.now(),
                |to| async move { to.nodes.clone().update_node(request).await },
            )
            .await;
        let (plane, key) = (client.plane(), values::node_key(&node));
        shared.wrote(Write { begun, plane, key, value, over, outcome: outcome(&answer) });
    }
}

/// Gives a host one content after the other; the last one for sure.
async fn configure(shared: Arc<Shared>, name: String, folder: PathBuf, mut chance: StdRng) {
    let mut client = shared.client();
    for content in 1.. {
        let is_last = !shared.goes_on();
        let create = pb::CreateBundleRequest {
            name: name.clone(),
            content: Some(hosts::content(&folder, content)),
            validate_only: false,
        };
        let made = client.insist(|to| {
            let create = create.clone();
            async move { to.bundles.clone().create_bundle(create).await }
        });
        let version = made.await.bundle.expect("the bundle is in the answer").version;
        shared.set_version(&name, content, version);
        let target = pb::BundleTarget { name: name.clone(), version };
        let assignment = Some(pb::Assignment {
            name: name.clone(),
            selector: format!("host={name}"),
            target: Some(pb::assignment::Target::Bundle(target)),
            ..Default::default()
        });
        let update = pb::UpdateAssignmentRequest { assignment, validate_only: false };
        let assign = |to: muster_tests::operator::Operator| {
            let update = update.clone();
            async move { to.assignments.clone().update_assignment(update).await }
        };
        let mut begun = shared.recorder.now();
        let outcome = if is_last {
            client.insist(assign).await;
            Outcome::Acknowledged
        } else {
            outcome(&client.ask(|| begun = shared.recorder.now(), assign).await)
        };
        let (plane, key, value) = (client.plane(), values::assignment_key(&name), version.to_string());
        shared.wrote(Write { begun, plane, key, value, over: None, outcome });
        if is_last {
            return;
        }
        rest(&mut chance, 150..350).await;
    }
}

/// Reads now this, now that, and looks how orders stand.
async fn read(shared: Arc<Shared>, mut client: Client, mut chance: StdRng) {
    while shared.goes_on() {
        let key = shared.keys.choose(&mut chance).expect("there are keys").clone();
        read_one(&shared, &mut client, &key).await;
        if chance.random_ratio(1, 4) {
            orders::look(&shared, &mut client, &mut chance).await;
        }
        rest(&mut chance, 10..50).await;
    }
}

async fn read_one(shared: &Shared, client: &mut Client, key: &Key) {
    let mut begun = Duration::ZERO;
    let begins = || begun = shared.recorder.now();
    let (key, value) = match key.clone() {
        Key::Node(id) => {
            let (key, request) = (values::node_key(&id), pb::GetNodeRequest { id });
            let answer =
                client.ask(begins, |to| async move { to.nodes.clone().get_node(request).await }).await;
            (key, answer.ok().and_then(|answer| answer.node).as_ref().map(values::of_node))
        }
        Key::Assignment(name) => {
            let (key, request) = (values::assignment_key(&name), pb::GetAssignmentRequest { name });
            let answer = client
                .ask(begins, |to| async move { to.assignments.clone().get_assignment(request).await })
                .await;
            (key, answer.ok().and_then(|answer| answer.assignment).as_ref().map(values::of_assignment))
        }
    };
    if let Some(value) = value {
        shared.recorder.saw(What::Read(Read { begun, plane: client.plane(), key, value }));
    }
}

fn outcome<T>(answer: &Result<T, Outcome>) -> Outcome {
    answer.as_ref().err().copied().unwrap_or(Outcome::Acknowledged)
}
