//! The parties, each in its own network namespace: control planes, some real agents, a swarm,
//! the database. Operators' programs run where the test does. All of it is removed with the
//! lab, also when a test fails.

use std::{
    net::{SocketAddr, SocketAddrV4},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use muster_cluster::Cluster;
use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    agent::{Agent, OPEN},
    cable::Cable,
    eventually::{LONG, eventually},
    history::{Recorder, What},
    netns::{Namespace, Network},
    operator::Operator,
    plane::{Options, Plane},
};
use rand::rngs::StdRng;
use tokio::sync::OnceCell;

use super::{
    afar::Afar,
    hosts,
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

/// A control plane and where it is.
pub(crate) struct Seat {
    pub(crate) plane: Plane,
    pub(crate) place: Namespace,
}

impl Seat {
    /// Where hosts reach it.
    pub(crate) fn agents(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.place.address(), self.plane.addresses().agents.port())
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
    /// A host of the swarm's network that is barred in the middle of it all.
    pub(crate) outcast: Afar,
    pub(crate) hosts: Vec<Home>,
    /// The way of the cabled agents, and the one of some operators' programs.
    pub(crate) cables: [Cable; 2],
    pub(crate) seats: Vec<Seat>,
    pub(crate) database: Option<(Cluster, Namespace)>,
    pub(crate) crowd: Namespace,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) recorder: Recorder,
    pub(crate) engine: Engine,
    /// Nodes of the swarm.
    pub(crate) nodes: Vec<String>,
    /// The node of the outcast.
    pub(crate) outcast_node: String,
    /// Sessions that the swarm had begun when the history began.
    pub(crate) opened_before: u64,
    barred: OnceCell<()>,
    _network: Network,
}

impl Lab {
    pub(crate) async fn new(engine: Engine, planes: usize, seed: u64) -> Self {
        assert_eq!(planes, 1, "one control plane serves a store for now");
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
        let mut seats = Vec::new();
        for number in 0..planes {
            let folder = folder.path().join(format!("plane-{number}"));
            seats.push(seat(&folder, &network, url.clone()).await);
        }
        let (plane, crowd) = (&seats[0].plane, network.join());
        let agents: SocketAddr = seats[0].agents().into();
        let cables = [
            Cable::lay(network.gateway(), agents, seed).await,
            Cable::lay(network.gateway(), plane.addresses().operators, seed).await,
        ];
        let operator = plane.operator().await;
        let mut hosts = Vec::new();
        for number in 0..AGENTS {
            let cable = (number < CABLED).then_some(&cables[0]);
            hosts.push(home(number, folder.path(), &network, &seats[0], cable).await);
        }
        let count = i32::try_from(SWARM).unwrap();
        let swarm = Afar::start(&crowd, agents, plane.join(count, &[("role", "swarm")]).await, SWARM).await;
        let outcast = Afar::start(&crowd, agents, plane.join(1, &[("role", "outcast")]).await, 1).await;
        let nodes = until_online(&operator, "role=swarm", SWARM).await;
        let outcast_node = until_online(&operator, "role=outcast", 1).await.remove(0);
        let recorder = Recorder::begin(HEARTBEAT);
        let opened_before = swarm.counters.opened.load(Ordering::Relaxed);
        Self {
            swarm,
            outcast,
            hosts,
            cables,
            seats,
            database,
            crowd,
            folder,
            recorder,
            engine,
            nodes,
            outcast_node,
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

    /// All that is written, read and watched begins.
    pub(crate) async fn begin(&self, random: &mut StdRng) -> Parties {
        let watchers = Watchers::begin(self).await;
        Parties { writers: Writers::begin(self, random), watchers }
    }

    /// Lets the outcast in no more, once.
    pub(crate) async fn bar_the_outcast(&self) {
        let bar = || async {
            let node = self.outcast_node.clone();
            let tls = Arc::new(self.plane().operator_tls());
            let mut client = super::client::Client::new(self.plane().addresses().operators, tls);
            let request = pb::RevokeRequest { subject: format!("node/{node}"), reason: "lost".to_owned() };
            client
                .insist(|operator| {
                    let request = request.clone();
                    async move { operator.identity.clone().revoke(request).await }
                })
                .await;
            self.recorder.saw(What::Barred { node });
        };
        self.barred.get_or_init(bar).await;
    }

    /// Sessions that the swarm has begun.
    pub(crate) fn opened(&self) -> u64 {
        self.swarm.counters.opened.load(Ordering::Relaxed)
    }
}

async fn seat(folder: &std::path::Path, network: &Network, store_url: Option<String>) -> Seat {
    let place = network.join();
    let options = Options {
        heartbeat: HEARTBEAT,
        log: "warn".to_owned(),
        listen: place.address().into(),
        store_url,
        namespace: Some(place.name().to_owned()),
        ..Options::default()
    };
    Seat { plane: Plane::start(folder, &options).await, place }
}

/// A host with a bundle of its own, whose version will change.
async fn home(
    number: usize,
    folder: &std::path::Path,
    network: &Network,
    seat: &Seat,
    cable: Option<&Cable>,
) -> Home {
    let (place, name) = (network.join(), format!("host-{number}"));
    if let Some(SocketAddr::V4(cable)) = cable.map(Cable::address) {
        place.divert(seat.agents(), cable);
    }
    let mut agent = Agent::host(folder, &name, OPEN).within(&place);
    agent.connect(&seat.plane.join(1, &[("host", &name)]).await);
    agent.run();
    let operator = seat.plane.operator().await;
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let folder = folder.join(&name);
    operator.bundle(&name, hosts::content(&folder, 0)).await;
    operator.assign(&name, &format!("host={name}"), &name).await;
    eventually("the first content is in force", LONG, || std::future::ready(hosts::running(&agent))).await;
    Home { agent, folder, place }
}

async fn until_online(operator: &Operator, selector: &str, count: usize) -> Vec<String> {
    let nodes = operator.select(selector).await;
    assert_eq!(nodes.len(), count, "all of {selector} are enrolled");
    for node in &nodes {
        operator.until_liveness(node, Liveness::Online).await;
    }
    nodes
}
