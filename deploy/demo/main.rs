//! `make demo`: the whole main job on this machine, told step by step.
//!
//! Everything lies under `target/demo`, or in a new folder given with `--folder`,
//! listens on loopback, and ends with this process: at Ctrl-C, at the end of the
//! tour with `--once`, or on failure.
#![allow(clippy::print_stdout)] // this is what it is for

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use muster_common::join::JoinString;
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    types::v1::BundleContent,
};
use muster_tests::{
    agent::{Agent, OPEN},
    binaries::repository,
    operator::{Operator, file, script, sh},
    plane::{Options, Plane},
};
use tokio::signal::unix::{SignalKind, signal};

const HOSTS: [(&str, &str); 3] = [("web-1", "web"), ("web-2", "web"), ("db-1", "db")];

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(name = "muster-demo")]
struct Args {
    /// End after the tour.
    #[arg(long)]
    once: bool,
    /// Make everything in this folder, which must not exist yet; by default in
    /// target/demo, which is cleared.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let folder = args.folder.clone().unwrap_or_else(|| repository().join("target/demo"));
    match demo(&args, &folder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nthe demo failed: {error:#}\nlogs: {}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// All hosts are this machine: each agent's working directory stands for its host.
const HOST: &str = "/proc/self/cwd";

fn say(step: &str) {
    println!("\n== {step}");
}

/// Shows everything, stays up if it is to, and ends what it started.
async fn demo(args: &Args, folder: &Path) -> anyhow::Result<()> {
    // From the start: an early Ctrl-C must not leave a process behind.
    let mut interrupt = signal(SignalKind::interrupt())?;
    if args.folder.is_none() {
        clear(folder)?; // nothing of an earlier demo stays: hosts, keys and all
    }
    let folder = made(folder)?;
    let (plane, agents) = tokio::select! {
        shown = tour(&folder) => shown?,
        _ = interrupt.recv() => bail!("it was interrupted; what ran has ended"),
    };
    if !args.once {
        println!("\nall of it stays up until Ctrl-C");
        interrupt.recv().await;
    }
    stop(plane, agents, &folder).await
}

async fn tour(folder: &Path) -> anyhow::Result<(Plane, Vec<Agent>)> {
    say("a control plane is made and serves on SQLite");
    let options = Options { heartbeat: Duration::from_secs(2), ..Options::default() };
    let plane = Plane::start(folder, &options).await;
    hand_over(&plane, folder)?;
    let operator = plane.operator().await;
    let addresses = plane.addresses();
    println!(
        "nodes {}   enrollment {}   operators {}",
        addresses.agents, addresses.enrollment, addresses.operators
    );

    say("three hosts join the fleet, each with an agent of its own");
    let agents = enroll(&plane, &operator, folder).await;

    say("a bundle goes to the two hosts with role=web");
    assign(&operator, &agents).await?;

    say("a command runs on all three");
    command(&operator).await?;

    hints(folder, &plane);
    Ok((plane, agents))
}

fn clear(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot clear {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn made(folder: &Path) -> anyhow::Result<PathBuf> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    std::fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.canonicalize()?)
}

/// The operator's files, where grpcurl is told to look for them.
fn hand_over(plane: &Plane, folder: &Path) -> anyhow::Result<()> {
    let made = plane.state().join("operators");
    for (from, to) in [("ca.crt", "ca.crt"), ("admin.crt", "operator.crt"), ("admin.key", "operator.key")] {
        std::fs::copy(made.join(from), folder.join(to)).with_context(|| format!("cannot copy {from}"))?;
    }
    Ok(())
}

async fn enroll(plane: &Plane, operator: &Operator, folder: &Path) -> Vec<Agent> {
    let mut agents = Vec::new();
    for (name, role) in HOSTS {
        let join: JoinString = plane.join(1, &[("role", role)]).await;
        let mut agent = Agent::host(folder, name, OPEN);
        agent.allow(&[PathBuf::from(HOST)], OPEN);
        agent.connect(&join);
        agent.run();
        agents.push(agent);
    }
    for (agent, (name, role)) in agents.iter().zip(HOSTS) {
        operator.until_liveness(&agent.node, Liveness::Online).await;
        println!("{name}   node {}   role={role}   online, {} KiB", agent.node, agent.rss_kib());
    }
    agents
}

async fn assign(operator: &Operator, agents: &[Agent]) -> anyhow::Result<()> {
    let content = BundleContent {
        files: vec![file(&Path::new(HOST).join("motd"), "kept by Muster\n")],
        validate: sh("grep -rq Muster \"$MUSTER_STAGE\""),
        ..Default::default()
    };
    let (version, _) = operator.bundle("motd", content).await;
    operator.assign("motd-for-web", "role=web", "motd").await;
    let applied = |node: &pb::Node| node.items.iter().any(|item| item.item == "bundle/motd" && item.in_sync);
    for (agent, (name, _)) in agents.iter().zip(HOSTS).take(2) {
        operator.until("the bundle is applied", &agent.node, applied).await;
        let text = agent.read("motd").context("the file is not there")?;
        println!("{name} runs bundle/motd version {version}: {} says {text:?}", agent.file("motd").display());
    }
    let other = operator.node(&agents[2].node).await.context("db-1 is gone")?;
    ensure!(other.items.is_empty() && agents[2].read("motd").is_none(), "db-1 was not meant");
    println!("db-1 has none: the selector does not match it");
    Ok(())
}

async fn command(operator: &Operator) -> anyhow::Result<()> {
    let operation =
        operator.start("*", script("echo \"$(uname -sr), up $(cut -d. -f1 /proc/uptime) s\"")).await;
    let mut commands: Vec<NodeCommand> =
        operator.ended(&operation, Duration::from_secs(30)).await.into_values().collect();
    commands.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    for command in commands {
        println!(
            "{} {:?}: {}",
            command.node_id,
            command.state(),
            String::from_utf8_lossy(&command.stdout).trim()
        );
        ensure!(command.state() == muster_proto::types::v1::CommandState::Succeeded, "{}", command.message);
    }
    Ok(())
}

fn hints(folder: &Path, plane: &Plane) {
    let certs = format!("-cacert {0}/ca.crt -cert {0}/operator.crt -key {0}/operator.key", folder.display());
    let address = plane.addresses().operators;
    let grpcurl = grpcurl();
    say("ask it yourself (`make tools` installs grpcurl, if there is none)");
    println!("{grpcurl} {certs} {address} list");
    println!(
        "{grpcurl} {certs} -d '{{\"selector\": \"role=web\"}}' {address} muster.admin.v1.NodesService/ListNodes"
    );
    println!("{grpcurl} {certs} {address} muster.admin.v1.SystemService/GetSystem");
    println!(
        "or the daily jobs: MUSTER_ADDRESS={address} MUSTER_CERTS={} deploy/grpcurl/nodes-list.sh",
        folder.display()
    );
}

/// As it can be called here: from PATH, or as `tools/install.sh` puts it.
fn grpcurl() -> &'static str {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join("grpcurl").is_file());
    if found { "grpcurl" } else { ".tools/bin/grpcurl" }
}

async fn stop(mut plane: Plane, mut agents: Vec<Agent>, folder: &Path) -> anyhow::Result<()> {
    say("everything ends");
    for agent in &mut agents {
        ensure!(agent.process().stop().await.success(), "an agent did not end in peace");
    }
    ensure!(plane.process().stop().await.success(), "the control plane did not end in peace");
    println!("no process is left; what was written is under {}", folder.display());
    Ok(())
}
