//! Commands to many hosts while their agents are killed and started again all the time,
//! and the control plane now and then: each is done at most once, and ends once.
//!
//! Small in CI; whole with `MUSTER_AGENTS` and `MUSTER_COMMANDS`, as `make soak` has it.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use muster_common::clock::Clock;
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::CommandState,
};
use muster_tests::{
    agent::Agent,
    eventually::LONG,
    operator::{Operator, script},
    plane::{Options, Plane},
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{number, report};

/// One in so many operations begins with the death of the control plane.
const PLANE_DIES: u64 = 4;
/// Agents that are killed for each operation, of each ten.
const OF_TEN: usize = 2;
/// How long all may take to end, once nobody dies any more.
const TO_END: Duration = Duration::from_secs(120);

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    states: BTreeMap<&'static str, usize>,
    /// Effects of commands that were interrupted.
    interrupted_and_done: usize,
    agents_died: usize,
    planes_died: usize,
}

struct Lab {
    folder: tempfile::TempDir,
    plane: Plane,
    agents: Vec<Agent>,
    random: StdRng,
    seen: Seen,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_done_at_most_once_while_everybody_dies() {
    let _alone = crate::ALONE.lock().await;
    let agents = usize::try_from(number("MUSTER_AGENTS", 5)).unwrap();
    let operations = number("MUSTER_COMMANDS", 60).div_ceil(agents as u64);
    let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
    eprintln!("commands: {operations} operations on {agents} nodes, MUSTER_SEED={seed}");
    let mut lab = Lab::new(agents, seed).await;
    let begun = Clock::System.monotonic();
    let mut started = Vec::new();
    for n in 0..operations {
        started.push(lab.begin(n).await);
    }
    for agent in &mut lab.agents {
        if !agent.process().is_running() {
            agent.run();
        }
    }
    let commands = lab.end(&started).await;
    let seconds = (Clock::System.monotonic() - begun).as_secs();
    let text = lab.seen.print(seed, seconds, agents, commands);
    eprintln!("{text}");
    report("commands-soak.md", &text);
    let succeeded = lab.seen.states.get("COMMAND_STATE_SUCCEEDED").copied().unwrap_or(0);
    assert!(succeeded * 2 > commands, "most succeed: {:?}", lab.seen);
    assert!(lab.seen.agents_died > 0 && lab.seen.planes_died > 0, "{:?}", lab.seen);
}

impl Lab {
    async fn new(count: usize, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plane =
            Plane::start(folder.path(), &Options { log: "warn".to_owned(), ..Options::default() }).await;
        let join = plane.join(i32::try_from(count).unwrap(), &[]).await;
        let agents: Vec<Agent> =
            (0..count).map(|n| Agent::start(folder.path(), &format!("host-{n}"), &join)).collect();
        let operator = plane.operator().await;
        for agent in &agents {
            operator.until_liveness(&agent.node, Liveness::Online).await;
        }
        std::fs::create_dir(folder.path().join("ran")).unwrap();
        Self { folder, plane, agents, random: StdRng::seed_from_u64(seed), seen: Seen::default() }
    }

    /// Starts an operation on all hosts, some of which die meanwhile. Answers its id.
    async fn begin(&mut self, n: u64) -> String {
        if n % PLANE_DIES == 1 {
            self.plane.kill();
            self.plane.serve(&[]).await;
            self.seen.planes_died += 1;
        }
        let ran = self.folder.path().join("ran");
        // The file is of this one command, so of its node.
        let text =
            format!("echo x >> {}/$MUSTER_COMMAND_ID; echo begun; sleep 0.2; echo done", ran.display());
        let request = pb::StartOperationRequest {
            selector: "*".to_owned(),
            spec: Some(script(&text)),
            request_id: format!("soak-{n}"),
            ..Default::default()
        };
        let operator = self.plane.operator().await;
        let started = operator.operations.clone().start_operation(request).await.unwrap().into_inner();
        let deaths = (self.agents.len() * OF_TEN).div_ceil(10);
        for _ in 0..deaths {
            let victim = self.random.random_range(0..self.agents.len());
            // Anywhere in what it is doing now.
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..400 / deaths as u64))).await;
            self.agents[victim].kill();
            self.agents[victim].run();
            self.seen.agents_died += 1;
        }
        started.operation.unwrap().id
    }

    /// Waits until all has ended, and looks at every command. Answers how many there are.
    async fn end(&mut self, operations: &[String]) -> usize {
        let operator = self.plane.operator().await;
        let mut ends = BTreeMap::new();
        for operation in operations {
            for (_, command) in operator.ended(operation, TO_END).await {
                self.judge(&command);
                ends.insert(command.id.clone(), command.state());
            }
        }
        // And all of them stay as they are, also for a control plane that has just begun.
        self.plane.kill();
        self.plane.serve(&[]).await;
        let operator = self.plane.operator().await;
        for operation in operations {
            stays(&operator, operation, &ends).await;
        }
        assert_eq!(ends.len(), operations.len() * self.agents.len(), "each node has each command");
        ends.len()
    }

    fn judge(&mut self, command: &pb::NodeCommand) {
        let times = lines(&self.folder.path().join("ran").join(&command.id));
        assert!(times <= 1, "command {} was done {times} times", command.id);
        match command.state() {
            CommandState::Succeeded => {
                assert_eq!(times, 1, "command {} succeeded", command.id);
                assert_eq!(command.stdout.as_ref(), b"begun\ndone\n", "the output of {}", command.id);
            }
            CommandState::Interrupted => self.seen.interrupted_and_done += times,
            other => panic!("command {} is {other:?}: {}", command.id, command.message),
        }
        *self.seen.states.entry(command.state().as_str_name()).or_default() += 1;
    }
}

async fn stays(operator: &Operator, operation: &str, ends: &BTreeMap<String, CommandState>) {
    for (_, command) in operator.ended(operation, LONG).await {
        assert_eq!(ends.get(&command.id), Some(&command.state()), "{command:?}");
    }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

impl Seen {
    fn print(&self, seed: u64, seconds: u64, agents: usize, commands: usize) -> String {
        let mut text = "| | |\n|---|---|\n".to_owned();
        let mut row = |what: &str, figure: u64| {
            let _ = writeln!(text, "| {what} | {figure} |");
        };
        row("seed", seed);
        row("seconds", seconds);
        row("nodes, each with an agent of its own", agents as u64);
        row("agents killed and started again", self.agents_died as u64);
        row("deaths of the control plane", self.planes_died as u64);
        row("commands, none done twice, each in one end", commands as u64);
        for (state, count) in &self.states {
            let word = state.trim_start_matches("COMMAND_STATE_").to_lowercase();
            row(&format!("of them {word}"), *count as u64);
        }
        row("of the interrupted, those that had had their effect", self.interrupted_and_done as u64);
        text
    }
}
