//! What one command to every node costs until all results are stored, beside a bare
//! server that pushes as many bytes to as many streams and counts the answers.

mod measure;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_common::clock::Clock;
use muster_tests::{
    plane::{Options, Plane},
    swarm::{self, Identity, Swarm},
    told::Told,
};
use serde_json::{Value, json};

use crate::{AT_ONCE, LIMIT, SETTLE, median, sessions::hand_over};
use measure::Figures;

/// Between heartbeats: few of them fall into what is measured.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Measures all sizes; answers one object for each.
pub(crate) async fn run(sizes: &[usize], runs: usize) -> anyhow::Result<Vec<Value>> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable(); // the fleet only grows
    let largest = *sizes.last().context("no sizes")?;
    let folder = tempfile::tempdir()?;
    let options = Options { log: "warn".to_owned(), heartbeat: HEARTBEAT, ..Options::default() };
    let mut plane = Plane::start(folder.path(), &options).await;
    let join = [plane.join(i32::try_from(largest + 10)?, &[]).await];
    hand_over(&plane, folder.path())?;
    let (mut found, mut identities) = (Vec::new(), Vec::new());
    for size in sizes {
        // A command goes to all hosts there are: there must be no more than these.
        println!("enrolling {} hosts", size - identities.len());
        identities.extend(swarm::enroll_dealt(&join, identities.len()..size).await?);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            println!("a command to {size} nodes, run {run} of {runs}");
            theirs.push(bare(folder.path(), &identities).await?);
            plane.kill();
            plane.serve(&[]).await;
            let swarm = connected(plane.addresses().agents, &identities).await?;
            ours.push(measure::command(&mut plane, &swarm).await?);
            swarm.end().await;
        }
        found.push(point(size, runs, &ours, &theirs));
    }
    Ok(found)
}

async fn connected(address: std::net::SocketAddr, identities: &[Identity]) -> anyhow::Result<Swarm> {
    let swarm = Swarm::start(address, identities, AT_ONCE);
    let all = identities.len() as u64;
    ensure!(swarm.counters.reach(&swarm.counters.opened, all, LIMIT).await, "not all came up");
    tokio::time::sleep(SETTLE).await;
    Ok(swarm)
}

/// A push of 1 KiB to all streams, until all have answered.
async fn bare(folder: &std::path::Path, identities: &[Identity]) -> anyhow::Result<Figures> {
    let folder = folder.to_string_lossy().into_owned();
    let mut bare = Told::start("muster-bare", &[&folder, &HEARTBEAT.as_millis().to_string()])?;
    let swarm = connected(bare.line()?.parse()?, identities).await?;
    let (cpu, begun) = (bare.process.cpu(), Clock::System.monotonic());
    bare.say("push")?;
    let (mut bare, line) = tokio::task::spawn_blocking(move || {
        let line = bare.line();
        (bare, line)
    })
    .await?;
    ensure!(line? == "acked", "it says when all have answered");
    let figures = Figures::from([
        ("all_ms", (Clock::System.monotonic() - begun).as_secs_f64() * 1e3),
        ("cpu_ms", (bare.process.cpu() - cpu).as_secs_f64() * 1e3),
    ]);
    swarm.end().await;
    bare.process.kill();
    Ok(figures)
}

fn point(size: usize, runs: usize, ours: &[Figures], theirs: &[Figures]) -> Value {
    let of = |all: &[Figures]| -> serde_json::Map<String, Value> {
        let names = all.iter().flat_map(|figures| figures.keys().copied());
        let medians = names.map(|name| {
            let values = all.iter().filter_map(|figures| figures.get(name).copied());
            (name.to_owned(), json!((median(values.collect()) * 1000.0).round() / 1000.0))
        });
        medians.collect()
    };
    json!({ "nodes": size, "runs": runs, "muster": of(ours), "bare": of(theirs) })
}

/// As tables.
pub(crate) fn print(found: &[Value]) {
    println!("| figure | nodes | Muster | bare |\n|---|---|---|---|");
    for point in found {
        for (name, value) in point["muster"].as_object().into_iter().flatten() {
            let bare = point["bare"].get(name).map_or_else(String::new, Value::to_string);
            println!("| {name} | {} | {value} | {bare} |", point["nodes"]);
        }
    }
}
