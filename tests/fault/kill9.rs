//! kill -9 of the control plane and of agents, at random moments and at named
//! points of their code, under a steady stream of writes and commands.

use std::{
    collections::BTreeMap, fmt::Write as _, os::unix::process::ExitStatusExt as _, path::PathBuf,
    time::Duration,
};

use muster_common::clock::Clock;
use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    agent::{Agent, OPEN},
    plane::{Options, Plane},
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    check::{Checked, check},
    load::{Acknowledged, Load, bundle_of},
    number, tree,
};

const AGENTS: usize = 3;
/// A host enrolls while the control plane waits to die here.
const ENROLLING: &str = "app.enroll.before-answer";
/// SIGKILL: what a named point sends to its own process.
const KILLED: i32 = 9;
const PLANE_POINTS: &[&str] = &[
    ENROLLING,
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
    "agent.apply.probed",
    "agent.apply.unconfirmed",
    "agent.apply.before-commit",
    "agent.apply.committed",
];
/// A named point that is not passed within this is given up, and the process killed then.
const POINT_WITHIN: Duration = Duration::from_secs(20);

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
    enrolled: usize,
}

/// What a run has shown.
struct Report<'a> {
    rounds: u64,
    seed: u64,
    seconds: u64,
    tally: &'a Tally,
    acknowledged: &'a Acknowledged,
    checked: &'a Checked,
}

pub(crate) struct Lab {
    folder: tempfile::TempDir,
    pub(crate) plane: Plane,
    pub(crate) agents: Vec<Agent>,
    /// Hosts that enrolled beside the load, and run no agent.
    pub(crate) enrolled: Vec<Agent>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_runs_twice() {
    let _alone = crate::ALONE.lock().await;
    let rounds = number("MUSTER_ROUNDS", 6);
    let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
    eprintln!("kill9: {rounds} rounds, MUSTER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut lab = Lab::new().await;
    let load = Load::begin(&lab.plane, &lab.hosts(), &lab.ran());
    let (begun, mut tally) = (Clock::System.monotonic(), Tally::default());
    for round in 0..rounds {
        let death = any_death(&mut random, round, &tally);
        lab.die(death, &load, &mut random, &mut tally).await;
        eprintln!(
            "kill9: round {round}: {death:?}, {} writes, {} operations",
            load.writes(),
            load.operations().len()
        );
    }
    let acknowledged = load.end().await;
    let checked = check(&lab, &acknowledged).await;
    let seconds = (Clock::System.monotonic() - begun).as_secs();
    tally.enrolled = lab.enrolled.len();
    let (tally, acknowledged, checked) = (&tally, &acknowledged, &checked);
    let report = Report { rounds, seed, seconds, tally, acknowledged, checked }.print();
    eprintln!("{report}");
    crate::report("kill9.md", &report);
    if rounds >= 50 {
        assert!(tally.in_flight >= 40, "a write and a command were in flight in {} rounds", tally.in_flight);
        assert!(
            acknowledged.writes >= 2000 && checked.commands >= 500 && checked.interrupted >= 10,
            "too little happened"
        );
        for point in PLANE_POINTS.iter().chain(AGENT_POINTS) {
            assert!(tally.at(point) >= 1, "nobody died at {point}");
        }
    }
}

fn any_death(random: &mut StdRng, round: u64, tally: &Tally) -> Death {
    // Both kinds of process and of death take turns, and so do the points; the rest is chance.
    let agent = (round % 2 == 1).then(|| random.random_range(0..AGENTS));
    let points = if agent.is_some() { AGENT_POINTS } else { PLANE_POINTS };
    let point = (round % 4 >= 2).then(|| {
        let least = points.iter().map(|point| tally.at(point)).min();
        let points: Vec<_> = points.iter().copied().filter(|point| Some(tally.at(point)) == least).collect();
        let name = *points.choose(random).expect("there are points");
        (name, if name == ENROLLING { 1 } else { random.random_range(1..6) })
    });
    Death { agent, point }
}

impl Tally {
    /// Deaths at a point.
    fn at(&self, point: &str) -> usize {
        self.at_points.get(point).copied().unwrap_or(0)
    }
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
            tree::make_before(&agent.files());
            operator.bundle(&bundle, tree::content(&agent.files(), 0)).await;
            operator.assign(&bundle, &format!("host={}", agent.node), &bundle).await;
            agents.push(agent);
        }
        let lab = Self { folder, plane, agents, enrolled: Vec::new() };
        std::fs::create_dir(lab.ran()).unwrap();
        lab
    }

    /// Where commands leave their marks.
    pub(crate) fn ran(&self) -> PathBuf {
        self.folder.path().join("ran")
    }

    fn hosts(&self) -> Vec<(String, PathBuf)> {
        self.agents.iter().map(|agent| (agent.node.clone(), agent.files())).collect()
    }

    async fn die(&mut self, death: Death, load: &Load, random: &mut StdRng, tally: &mut Tally) {
        let in_flight = match death.point {
            None => {
                tokio::time::sleep(Duration::from_millis(random.random_range(200..900))).await;
                self.both_in_flight(load).await
            }
            Some((point, count)) => {
                let (reached, in_flight) = if point == ENROLLING {
                    self.die_enrolling(load).await
                } else {
                    self.restart(death.agent, &[("MUSTER_CRASH_AT", &format!("{point}:{count}"))]).await;
                    self.ended_by_itself(death.agent, load).await
                };
                if reached {
                    *tally.at_points.entry(point).or_default() += 1;
                } else {
                    tally.not_reached += 1;
                }
                in_flight
            }
        };
        tally.in_flight += usize::from(in_flight);
        match death.agent {
            None => tally.planes += 1,
            Some(_) => tally.agents += 1,
        }
        self.restart(death.agent, &[]).await;
    }

    /// A host enrolls, and the control plane dies before it answers; the host comes
    /// again with the same join string, which lets one node in and no second.
    async fn die_enrolling(&mut self, load: &Load) -> (bool, bool) {
        let join = self.plane.join(1, &[]).await;
        let mut host = Agent::host(self.folder.path(), &format!("late-{}", self.enrolled.len()), OPEN);
        self.plane.kill();
        self.plane.serve(&[("MUSTER_CRASH_AT", ENROLLING)]).await;
        let in_flight = self.both_in_flight(load).await;
        let lost = host.try_connect(&join);
        assert!(!lost.status.success(), "no answer came: {}", String::from_utf8_lossy(&lost.stdout));
        let end = self.plane.process().ended().await;
        assert_eq!(end.signal(), Some(KILLED), "the control plane died at {ENROLLING}");
        self.plane.serve(&[]).await;
        host.connect(&join);
        self.enrolled.push(host);
        (true, in_flight)
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
            if let Some(end) = process.has_ended() {
                assert_eq!(
                    end.signal(),
                    Some(KILLED),
                    "it ended at no named point: {end}\n{}",
                    process.log()
                );
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
}

/// Commands that a ledger has begun and not ended.
fn open_commands(journal: &str) -> usize {
    let count = |word: &str| journal.lines().filter(|line| line.contains(word)).count();
    count("\"change\":\"started\"").saturating_sub(count("\"change\":\"ended\""))
}

impl Report<'_> {
    fn print(&self) -> String {
        let Self { tally, acknowledged, checked, .. } = self;
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
        row("of them renames, all in the audit in their order", checked.renames.to_string());
        row(
            "hosts that run what was last assigned, byte for byte",
            acknowledged.assignments.len().to_string(),
        );
        row("commands, none run twice", checked.commands.to_string());
        row("of them interrupted", checked.interrupted.to_string());
        row("hosts that enrolled again as the same node", tally.enrolled.to_string());
        row("named points not passed in time", tally.not_reached.to_string());
        for point in PLANE_POINTS.iter().chain(AGENT_POINTS) {
            row(&format!("deaths at `{point}`"), tally.at(point).to_string());
        }
        format!("| | |\n|---|---|\n{text}")
    }
}
