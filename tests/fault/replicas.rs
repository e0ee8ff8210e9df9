//! Three replicas behind a balancer, on a database with a synchronous standby, while one of them is killed again and
//! again, and the database is lost once, under a stream of writes and commands: what was
//! acknowledged is there, nothing takes effect twice, nobody is said to be gone who is not, and
//! all sessions come back.
//!
//! Small in CI; whole with `MUSTER_FLEET` sessions and `MUSTER_KILLING` seconds.

mod seen;
mod stream;

use std::{sync::Arc, time::Duration};

use muster_cluster::Cluster;
use muster_common::clock::Clock;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    haproxy::Haproxy,
    operator::Operator,
    plane::Options,
    replicas::{Replicas, about},
    swarm::{self, Swarm},
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{number, report};
use seen::Seen;
use stream::Stream;

/// Replicas.
const COUNT: usize = 3;
/// Hosts with an agent of their own, on which the effects of commands are counted.
const AGENTS: usize = 4;
/// Between two deaths.
const BETWEEN: Duration = Duration::from_secs(20);
/// Connections of the swarm that are opened at once.
const AT_ONCE: usize = 200;
/// How long it may take until all have come for the first time.
const HERE_WITHIN: Duration = Duration::from_secs(300);
/// How long it may take until all sessions are back, whatever has died.
const BACK_WITHIN: Duration = Duration::from_secs(90);

struct Lab {
    folder: tempfile::TempDir,
    primary: Option<Cluster>,
    standby: Cluster,
    replicas: Replicas,
    balancer: Haproxy,
    agents: Vec<Agent>,
    swarm: Swarm,
    all: i64,
    random: StdRng,
    seen: Seen,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_and_their_database_die_and_nothing_is_lost() {
    let _alone = crate::ALONE.lock().await;
    let sessions = usize::try_from(number("MUSTER_FLEET", 60)).unwrap();
    let killing = Duration::from_secs(number("MUSTER_KILLING", 20));
    let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
    let every = BETWEEN.min(killing / 3);
    eprintln!("replicas: {sessions} sessions, a death every {every:?} for {killing:?}, MUSTER_SEED={seed}");
    let mut lab = Lab::new(sessions, seed).await;
    let stream = Stream::start(lab.operators().await, lab.folder.path());
    let begun = Clock::System.monotonic();
    let mut has_failed_over = false;
    while Clock::System.monotonic() - begun < killing {
        if !has_failed_over && Clock::System.monotonic() - begun > killing / 3 {
            has_failed_over = true;
            lab.fail_over().await;
        }
        lab.one_dies(&stream, every).await;
    }
    assert!(has_failed_over);
    let said = stream.end().await;
    lab.judge(&said).await;
    let seconds = (Clock::System.monotonic() - begun).as_secs();
    let mut through = 0;
    for plane in 0..COUNT {
        through += lab.balancer.sees(plane).await.connections;
    }
    assert!(through >= u64::try_from(sessions).unwrap(), "all come through the balancer: {through}");
    let text = lab.seen.print(seed, seconds, sessions + AGENTS, &said);
    eprintln!("{text}");
    report("replicas-soak.md", &text);
    lab.swarm.end().await;
}

impl Lab {
    async fn new(sessions: usize, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (primary, standby) = Cluster::pair();
        let database = primary.database();
        let options = Options {
            store_url: Some(primary.url_of_either(&standby, &database)),
            heartbeat: Duration::from_secs(15),
            log: "warn".to_owned(),
            ..Options::default()
        };
        let (replicas, balancer) = Replicas::start_behind_one(folder.path(), COUNT, &options).await;
        let real = replicas.planes[0].join(i32::try_from(AGENTS).unwrap(), &[("kind", "real")]).await;
        let agents: Vec<Agent> =
            (0..AGENTS).map(|n| Agent::start(folder.path(), &format!("host-{n}"), &real)).collect();
        let operator = replicas.planes[0].operator().await;
        let join = replicas.planes[0].join(i32::try_from(sessions).unwrap(), &[]).await;
        let members = swarm::enroll_members(&join, sessions).await.unwrap();
        let swarm = Swarm::start_members(members, AT_ONCE);
        std::fs::create_dir(folder.path().join("ran")).unwrap();
        let all = i64::try_from(sessions + AGENTS).unwrap();
        let random = StdRng::seed_from_u64(seed);
        let (primary, seen) = (Some(primary), Seen::default());
        let lab = Self { folder, primary, standby, replicas, balancer, agents, swarm, all, random, seen };
        lab.all_within(HERE_WITHIN, &operator).await;
        lab
    }

    async fn operators(&self) -> Vec<Operator> {
        let mut operators = Vec::new();
        for plane in &self.replicas.planes {
            operators.push(plane.operator().await);
        }
        operators
    }

    async fn all_here(&self, operator: &Operator) {
        self.all_within(BACK_WITHIN, operator).await;
    }

    async fn all_within(&self, limit: Duration, operator: &Operator) {
        let operator = Arc::new(operator.clone());
        eventually("all sessions are there", limit, || async {
            let request = pb::GetSystemRequest {};
            let system = operator.system.clone().get_system(request).await.ok()?.into_inner();
            let nodes = system.nodes?;
            assert_eq!(nodes.offline, 0, "nobody is gone: {nodes:?} {:?}", gone(&operator).await);
            self.seen.looked();
            (nodes.online == self.all).then_some(())
        })
        .await;
    }

    /// Kills a replica, waits until its nodes are elsewhere, and starts it again.
    async fn one_dies(&mut self, stream: &Stream, every: Duration) {
        let begun = Clock::System.monotonic();
        let victim = self.random.random_range(0..COUNT);
        let asked = self.replicas.planes[(victim + 1) % COUNT].operator().await;
        stream.avoids(victim);
        let held = self.sessions_of(&asked, victim).await;
        self.replicas.planes[victim].kill();
        let lost = Clock::System.monotonic();
        // Its row, and with it what it held, is there until it is declared lost or starts anew.
        self.replicas.planes[victim].serve(&[]).await;
        self.all_here(&asked).await;
        self.seen.died(held, Clock::System.monotonic() - lost);
        stream.asks_all(victim, self.replicas.planes[victim].operator().await);
        while Clock::System.monotonic() - begun < every {
            self.all_here(&asked).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn sessions_of(&self, operator: &Operator, victim: usize) -> i64 {
        let name = format!("r{victim}");
        let system = about(operator).await;
        system.replicas.iter().find(|replica| replica.name == name).map_or(0, |replica| replica.sessions)
    }

    /// The server that takes writes is lost, and the standby takes its place.
    async fn fail_over(&mut self) {
        let begun = Clock::System.monotonic();
        let primary = self.primary.take().unwrap();
        let standby = &self.standby;
        tokio::task::block_in_place(|| {
            primary.kill();
            standby.promote();
        });
        let operator = self.replicas.planes[0].operator().await;
        eventually("a write is taken again", LONG, || async {
            operator.try_bundle("after-the-failover", "x").await.ok()
        })
        .await;
        self.seen.failed_over(Clock::System.monotonic() - begun);
        self.all_here(&operator).await;
    }

    /// Looks for everything that was acknowledged, on each replica.
    async fn judge(&mut self, said: &stream::Said) {
        for operator in self.operators().await {
            self.all_here(&operator).await;
            said.writes_are_there(&operator).await;
        }
        let operator = self.operators().await.remove(0);
        self.seen.commands = said.commands_end_once(&operator, &self.folder.path().join("ran")).await;
        for agent in &mut self.agents {
            assert!(agent.process().is_running());
        }
    }
}

/// Those that are said to be gone, and why.
async fn gone(operator: &Operator) -> Vec<String> {
    let (mut said, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListNodesRequest { page_size: 1000, page_token, ..Default::default() };
        let Ok(answer) = operator.nodes.clone().list_nodes(request).await else { return said };
        let pb::ListNodesResponse { nodes, next_page_token, .. } = answer.into_inner();
        for pb::Node { id, connection, .. } in nodes {
            let connection = connection.unwrap_or_default();
            if connection.liveness() == pb::Liveness::Offline {
                said.push(format!("{id}: {}", connection.reason));
            }
        }
        page_token = next_page_token;
        if page_token.is_empty() {
            return said;
        }
    }
}
