//! The parties, each in its own network namespace: control planes, some real agents, a swarm,
//! the database. Operators' programs run where the test does. All of it is removed with the
//! lab, also when a test fails.

use std::{net::SocketAddr, path::PathBuf, sync::atomic::Ordering, time::Duration};

use muster_cluster::Cluster;
use muster_proto::admin::v1::Liveness;
use muster_tests::{
    agent::{Agent, OPEN},
    cable::Cable,
    eventually::{LONG, eventually},
    history::Recorder,
    netns::{Namespace, Network},
    operator::Operator,
    plane::Plane,
};
use rand::rngs::StdRng;
use tokio::sync::OnceCell;

use super::{
    afar::Afar,
    hosts,
    outcast::Outcast,
    seats::{self, Seat},
    watchers::Watchers,
    writers::{Parties, Writers},
};

/// Real agents; the first of them reach their control plane over a cable.
pub(crate) const AGENTS: usize = 3;
/// Of them, those over a cable.
pub(crate) const CABLED: usize = 1;
/// Hosts of the swarm.
const SWARM: usize = 12;
/// Between heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// What keeps the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }
}

/// An agent and where it is.
pub(crate) struct Home {
    pub(crate) agent: Agent,
    pub(crate) folder: PathBuf,
    pub(crate) place: Namespace,
}

impl Home {
    /// Of its bundle and its assignment, too.
    pub(crate) fn name(&self) -> String {
        self.folder.file_name().and_then(|name| name.to_str()).expect("it was given one").to_owned()
    }
}

// Processes go before the namespaces that they are in, and those before their network.
pub(crate) struct Lab {
    pub(crate) swarm: Afar,
    /// Hosts that are barred in the middle of it all, one for each control plane.
    pub(crate) outcasts: Vec<Outcast>,
    pub(crate) hosts: Vec<Home>,
    /// The ways of the cabled agents, and those of some operators' programs: one to each control plane.
    pub(crate) cables: [Vec<Cable>; 2],
    pub(crate) seats: Vec<Seat>,
    pub(crate) database: Option<(Cluster, Namespace)>,
    pub(crate) crowd: Namespace,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) recorder: Recorder,
    pub(crate) engine: Engine,
    /// Nodes of the swarm.
    pub(crate) nodes: Vec<String>,
    /// Sessions that the swarm had begun when the history began.
    pub(crate) opened_before: u64,
    pub(crate) barred: OnceCell<()>,
    _network: Network,
}

impl Lab {
    pub(crate) async fn new(engine: Engine, planes: usize, seed: u64) -> Self {
        let (folder, network) = (tempfile::tempdir().unwrap(), Network::create());
        std::fs::create_dir(folder.path().join("ran")).unwrap();
        let database = (engine == Engine::Postgres).then(|| {
            let place = network.join();
            (Cluster::in_namespace(place.name(), place.address()), place)
        });
        let url = database.as_ref().map(|(cluster, place)| {
            let database = cluster.database();
            let name = database.rsplit('/').next().unwrap().to_owned();
            cluster.tcp_url(&place.address().to_string(), &name) + "?sslmode=disable"
        });
        let seats = seats::start(folder.path(), &network, planes, url).await;
        let (plane, crowd) = (&seats[0].plane, network.join());
        let cables = [
            lay(&network, seats.iter().map(|seat| seat.agents().into()), seed).await,
            lay(&network, seats.iter().map(Seat::operators), seed).await,
        ];
        let operator = plane.operator().await;
        let homes = (0..AGENTS).map(|number| home(number, folder.path(), &network, &seats, &cables[0]));
        let hosts = futures_util::future::join_all(homes).await;
        let count = i32::try_from(SWARM).unwrap();
        let swarm = Afar::start(&crowd, plane.join(count, &[("role", "swarm")]).await, SWARM).await;
        let outcasts = seats.iter().enumerate().map(|(number, seat)| Outcast::start(seat, &crowd, number));
        let outcasts = futures_util::future::join_all(outcasts).await;
        let nodes = until_online(&operator, "role=swarm", SWARM).await;
        let recorder = Recorder::begin(HEARTBEAT, planes);
        let opened_before = swarm.counters.opened.load(Ordering::Relaxed);
        Self {
            swarm,
            outcasts,
            hosts,
            cables,
            seats,
            database,
            crowd,
            folder,
            recorder,
            engine,
            nodes,
            opened_before,
            barred: OnceCell::new(),
            _network: network,
        }
    }

    /// Where commands count themselves.
    pub(crate) fn ran(&self) -> PathBuf {
        self.folder.path().join("ran")
    }

    /// The first control plane.
    pub(crate) fn plane(&self) -> &Plane {
        &self.seats[0].plane
    }

    /// All nodes that stay.
    pub(crate) fn staying(&self) -> impl Iterator<Item = &String> {
        self.hosts.iter().map(|home| &home.agent.node).chain(&self.nodes)
    }

    /// All nodes.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = &String> {
        self.staying().chain(self.outcasts.iter().map(|outcast| &outcast.node))
    }

    /// All that is written, read and watched begins.
    pub(crate) async fn begin(&self, random: &mut StdRng) -> Parties {
        let watchers = Watchers::begin(self);
        Parties { writers: Writers::begin(self, random), watchers }
    }

    /// Sessions that the swarm has begun.
    pub(crate) fn opened(&self) -> u64 {
        self.swarm.counters.opened.load(Ordering::Relaxed)
    }
}

async fn lay(network: &Network, to: impl Iterator<Item = SocketAddr>, seed: u64) -> Vec<Cable> {
    futures_util::future::join_all(to.map(|to| Cable::lay(network.gateway(), to, seed))).await
}

/// A host with a bundle of its own, whose version will change.
async fn home(
    number: usize,
    folder: &std::path::Path,
    network: &Network,
    seats: &[Seat],
    cables: &[Cable],
) -> Home {
    let (place, name) = (network.join(), format!("host-{number}"));
    for (seat, cable) in seats.iter().zip(cables).filter(|_| number < CABLED) {
        if let SocketAddr::V4(cable) = cable.address() {
            place.divert(seat.agents(), cable);
        }
    }
    let mut agent = Agent::host(folder, &name, OPEN).within(&place);
    agent.connect(&seats[0].plane.join(1, &[("host", &name)]).await);
    agent.run();
    let operator = seats[0].plane.operator().await;
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let folder = folder.join(&name);
    operator.bundle(&name, hosts::content(&folder, 0)).await;
    operator.assign(&name, &format!("host={name}"), &name).await;
    eventually("the first content is in force", LONG, || std::future::ready(hosts::running(&agent))).await;
    Home { agent, folder, place }
}

pub(crate) async fn until_online(operator: &Operator, selector: &str, count: usize) -> Vec<String> {
    let nodes = operator.select(selector).await;
    assert_eq!(nodes.len(), count, "all of {selector} are enrolled");
    for node in &nodes {
        operator.until_liveness(node, Liveness::Online).await;
    }
    nodes
}
