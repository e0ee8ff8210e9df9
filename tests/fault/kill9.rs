//! kill -9 of the control plane and of agents, at random moments and at named
//! points of their code, under a steady stream of writes and commands.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::clock::Clock;
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    types::v1::CommandState,
};
use muster_tests::{
    agent::Agent,
    binaries::repository,
    eventually::{LONG, eventually},
    operator::{Operator, reported},
    plane::{Options, Plane},
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::load::{Acknowledged, Load, bundle_of, content};

const AGENTS: usize = 3;
const PLANE_POINTS: &[&str] = &[
    "app.dispatch.delivered",
    "app.record.before-ack",
    "store.before-commit",
    "store.after-commit",
    "store.mid-batch",
];
const AGENT_POINTS: &[&str] = &[
    "agent.ledger.accepted",
    "agent.command.started",
    "agent.command.held",
    "agent.command.spawned",
    "agent.command.ended",
    "agent.ledger.ended",
    "agent.apply.journaled",
    "agent.apply.staged",
    "agent.apply.swapping",
    "agent.apply.swapped",
    "agent.apply.hooked",
    "agent.apply.before-commit",
    "agent.apply.committed",
];
/// A named point that is not passed within this is given up, and the process killed then.
const POINT_WITHIN: Duration = Duration::from_secs(5);

/// Who dies, and where.
#[derive(Debug, Clone, Copy)]
struct Death {
    /// `None`: the control plane.
    agent: Option<usize>,
    /// `None`: at a random moment.
    point: Option<(&'static str, u32)>,
}

/// What is counted.
#[derive(Debug, Default)]
struct Tally {
    in_flight: usize,
    at_points: BTreeMap<&'static str, usize>,
    not_reached: usize,
    planes: usize,
    agents: usize,
}

/// What a run has shown.
struct Report<'a> {
    rounds: u64,
    seed: u64,
    seconds: u64,
    tally: &'a Tally,
    acknowledged: &'a Acknowledged,
    commands: usize,
    interrupted: usize,
}

struct Lab {
    folder: tempfile::TempDir,
    plane: Plane,
    agents: Vec<Agent>,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_runs_twice() {
    let rounds = number("MUSTER_ROUNDS", 6);
    let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
    eprintln!("kill9: {rounds} rounds, MUSTER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut lab = Lab::new().await;
    let load = Load::begin(&lab.plane, &lab.hosts(), &lab.ran());
    let (begun, mut tally) = (Clock::System.monotonic(), Tally::default());
    for round in 0..rounds {
        let death = any_death(&mut random, round);
        lab.die(death, &load, &mut random, &mut tally).await;
        eprintln!(
            "kill9: round {round}: {death:?}, {} writes, {} operations",
            load.writes(),
            load.operations().len()
        );
    }
    let acknowledged = load.end().await;
    let (commands, interrupted) = lab.check(&acknowledged).await;
    let seconds = (Clock::System.monotonic() - begun).as_secs();
    let (tally, acknowledged) = (&tally, &acknowledged);
    let report = Report { rounds, seed, seconds, tally, acknowledged, commands, interrupted }.print();
    eprintln!("{report}");
    write_report(&report);
    if rounds >= 50 {
        assert!(tally.in_flight >= 40, "a write and a command were in flight in {} rounds", tally.in_flight);
        assert!(acknowledged.writes >= 2000 && commands >= 500 && interrupted >= 10, "too little happened");
    }
}

fn any_death(random: &mut StdRng, round: u64) -> Death {
    // Both kinds of process and of death take turns; the rest is chance.
    let agent = (round % 2 == 1).then(|| random.random_range(0..AGENTS));
    let points = if agent.is_some() { AGENT_POINTS } else { PLANE_POINTS };
    let point = (round % 4 >= 2).then(|| {
        let name = *points.choose(random).expect("there are points");
        (name, random.random_range(1..6))
    });
    Death { agent, point }
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plane =
            Plane::start(folder.path(), &Options { log: "warn".to_owned(), ..Options::default() }).await;
        let operator = plane.operator().await;
        let mut agents = Vec::new();
        for n in 0..AGENTS {
            let agent = Agent::start(folder.path(), &format!("host-{n}"), &plane.join(1, &[]).await);
            operator.until_liveness(&agent.node, Liveness::Online).await;
            let labels = [("host".to_owned(), agent.node.clone())].into();
            let node = pb::Node { id: agent.node.clone(), labels, ..Default::default() };
            let request = pb::UpdateNodeRequest { node: Some(node), ..Default::default() };
            operator.nodes.clone().update_node(request).await.unwrap();
            let bundle = bundle_of(&agent.node);
            operator.bundle(&bundle, content(&agent.files(), 0)).await;
            operator.assign(&bundle, &format!("host={}", agent.node), &bundle).await;
            agents.push(agent);
        }
        let lab = Self { folder, plane, agents };
        std::fs::create_dir(lab.ran()).unwrap();
        lab
    }

    fn ran(&self) -> PathBuf {
        self.folder.path().join("ran")
    }

    fn hosts(&self) -> Vec<(String, PathBuf)> {
        self.agents.iter().map(|agent| (agent.node.clone(), agent.files())).collect()
    }

    async fn die(&mut self, death: Death, load: &Load, random: &mut StdRng, tally: &mut Tally) {
        let in_flight = if let Some((point, count)) = death.point {
            let at = format!("{point}:{count}");
            self.restart(death.agent, &[("MUSTER_CRASH_AT", &at)]).await;
            let (reached, in_flight) = self.ended_by_itself(death.agent, load).await;
            if reached {
                *tally.at_points.entry(point).or_default() += 1;
            } else {
                tally.not_reached += 1;
            }
            in_flight
        } else {
            tokio::time::sleep(Duration::from_millis(random.random_range(200..900))).await;
            self.both_in_flight(load).await
        };
        tally.in_flight += usize::from(in_flight);
        match death.agent {
            None => tally.planes += 1,
            Some(_) => tally.agents += 1,
        }
        self.restart(death.agent, &[]).await;
    }

    /// Waits, not for long, until a write and a command are in flight.
    async fn both_in_flight(&self, load: &Load) -> bool {
        for _ in 0..500 {
            if self.some_command_is_open() && load.in_flight() > 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        false
    }

    /// Kills a process, if it lives, and starts it again.
    async fn restart(&mut self, agent: Option<usize>, environment: &[(&str, &str)]) {
        match agent {
            Some(n) => {
                self.agents[n].kill();
                self.agents[n].run_with(environment);
            }
            None => {
                self.plane.kill();
                if environment.is_empty() {
                    self.plane.serve(environment).await;
                } else {
                    // It may die before it says that it is ready.
                    self.plane.launch(environment);
                }
            }
        }
    }

    /// Whether the process ended at its point, and whether a write and a command
    /// were in flight when it was last seen alive.
    async fn ended_by_itself(&mut self, agent: Option<usize>, load: &Load) -> (bool, bool) {
        let begun = Clock::System.monotonic();
        let mut in_flight = false;
        loop {
            let now = self.some_command_is_open() && load.in_flight() > 0;
            let process = match agent {
                Some(n) => self.agents[n].process(),
                None => self.plane.process(),
            };
            if !process.is_running() {
                return (true, in_flight);
            }
            if Clock::System.monotonic() - begun > POINT_WITHIN {
                return (false, now);
            }
            in_flight = now;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether some host has a command that it began and has not ended.
    fn some_command_is_open(&self) -> bool {
        self.agents.iter().any(|agent| {
            let ledger = agent.state().join("nodes").join(&agent.node).join("ledger/journal");
            open_commands(&std::fs::read_to_string(ledger).unwrap_or_default()) > 0
        })
    }

    async fn check(&mut self, acknowledged: &Acknowledged) -> (usize, usize) {
        let operator = self.plane.operator().await;
        for (node, name) in &acknowledged.names {
            let found = operator.node(node).await.expect("the node is there").display_name;
            assert_eq!(found, *name, "the last acknowledged name of {node}");
        }
        for ((name, version), sha256) in &acknowledged.bundles {
            let found = eventually("an acknowledged bundle is there", LONG, || async {
                let request = pb::GetBundleRequest { name: name.clone(), version: *version };
                operator.bundles.clone().get_bundle(request).await.ok()?.into_inner().bundle
            });
            assert_eq!(found.await.sha256.as_ref(), sha256.as_slice(), "{name} {version}");
        }
        let mut commands = 0;
        let mut interrupted = 0;
        for operation in &acknowledged.operations {
            for (_, command) in operator.ended(operation, LONG * 2).await {
                commands += 1;
                interrupted += usize::from(command.state() == CommandState::Interrupted);
                check_command(&command, &self.ran());
            }
        }
        for agent in &self.agents {
            self.converged(&operator, agent).await;
        }
        assert!(!self.plane.cli(&["audit", "verify"]).is_empty(), "the audit's chain holds");
        (commands, interrupted)
    }

    async fn converged(&self, operator: &Operator, agent: &Agent) {
        let item = format!("bundle/{}", bundle_of(&agent.node));
        let in_sync = |node: &pb::Node| node.items.iter().any(|found| found.item == item && found.in_sync);
        let node = operator.until("the host runs what it should", &agent.node, in_sync).await;
        assert!(reported(&node, &item).is_some());
        let (left, right) = (agent.read("left"), agent.read("right"));
        assert!(left.is_some() && left == right, "never a mixture: {left:?} {right:?}");
        eventually("nothing is left beside the files", LONG, || {
            std::future::ready((std::fs::read_dir(agent.files()).unwrap().count() == 2).then_some(()))
        })
        .await;
    }
}

/// Commands that a ledger has begun and not ended.
fn open_commands(journal: &str) -> usize {
    let count = |word: &str| journal.lines().filter(|line| line.contains(word)).count();
    count("\"change\":\"started\"").saturating_sub(count("\"change\":\"ended\""))
}

fn check_command(command: &NodeCommand, ran: &Path) {
    let times = std::fs::read_to_string(ran.join(&command.id)).unwrap_or_default().lines().count();
    assert!(times <= 1, "command {} ran {times} times", command.id);
    match command.state() {
        CommandState::Succeeded => {
            assert_eq!(times, 1, "command {} succeeded", command.id);
            assert_eq!(command.stdout.as_ref(), b"begun\ndone\n", "the output of {} is whole", command.id);
        }
        CommandState::Interrupted => {}
        other => panic!("command {} is {other:?}: {}", command.id, command.message),
    }
}

impl Report<'_> {
    fn print(&self) -> String {
        let Self { tally, acknowledged, .. } = self;
        let mut text = String::new();
        let mut row = |what: &str, figure: String| {
            let _ = writeln!(text, "| {what} | {figure} |");
        };
        row("rounds", self.rounds.to_string());
        row("seed", self.seed.to_string());
        row("seconds", self.seconds.to_string());
        row("deaths of the control plane, of agents", format!("{}, {}", tally.planes, tally.agents));
        row("rounds with a write and a command in flight", tally.in_flight.to_string());
        row("acknowledged writes, all found again", acknowledged.writes.to_string());
        row("commands, none run twice", self.commands.to_string());
        row("of them interrupted", self.interrupted.to_string());
        row("named points not passed in time", tally.not_reached.to_string());
        for (point, times) in &tally.at_points {
            row(&format!("deaths at `{point}`"), times.to_string());
        }
        format!("| | |\n|---|---|\n{text}")
    }
}

fn write_report(report: &str) {
    let folder = repository().join("target/soak");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("kill9.md"), report).unwrap();
}
