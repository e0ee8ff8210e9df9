//! What a scrape costs a control plane: processor time for one answer of `/metrics`, with so many
//! sessions that beat, beside the same process before the first of them came.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use muster_common::clock::Clock;
use muster_tests::{
    plane::{Options, Plane, http_get},
    swarm::{self, Swarm},
};
use serde_json::{Value, json};

use crate::{AT_ONCE, LIMIT, SETTLE, median};

/// Answers that are asked for, one after the other.
const SCRAPES: u32 = 200;
/// As it is configured where nobody says otherwise.
const INTERVAL: Duration = Duration::from_secs(15);

/// What one answer costs, and how long it is.
struct Scrape {
    cpu_ms: f64,
    bytes: usize,
    series: usize,
}

/// Measures all sizes; answers a row of each.
pub(crate) async fn run(sizes: &[usize], runs: usize, idle: Duration) -> anyhow::Result<Vec<Value>> {
    let largest = sizes.iter().copied().max().context("no sizes")?;
    let folder = tempfile::tempdir()?;
    let options = Options { log: "warn".to_owned(), heartbeat: INTERVAL, ..Options::default() };
    let mut plane = Plane::init(folder.path(), &options);
    // What is measured is no storm.
    plane.configure_in("doors.agents", "handshakes-per-second", "1000000");
    plane.serve(&[]).await;
    println!("enrolling {largest} hosts");
    let join = plane.join(i32::try_from(largest)?, &[]).await;
    let identities = swarm::enroll(&join, largest).await?;
    let mut rows = Vec::new();
    for &size in sizes {
        let mut found = Vec::new();
        for run in 1..=runs {
            println!("a scrape at {size} sessions, run {run} of {runs}");
            plane.kill();
            plane.serve(&[]).await;
            tokio::time::sleep(SETTLE).await;
            let empty = cost(&mut plane, idle).await?;
            let swarm = Swarm::start(plane.addresses().agents, &identities[..size], AT_ONCE);
            let all = size as u64;
            ensure!(swarm.counters.reach(&swarm.counters.opened, all, LIMIT).await, "not all came up");
            tokio::time::sleep(SETTLE).await;
            found.push((empty, cost(&mut plane, idle).await?));
            swarm.end().await;
        }
        rows.extend(row(size, &found));
    }
    Ok(rows)
}

/// Less what the process does meanwhile by itself.
async fn cost(plane: &mut Plane, idle: Duration) -> anyhow::Result<Scrape> {
    let (console, clock) = (plane.addresses().console, Clock::System);
    let (begun, before) = (clock.monotonic(), plane.process().cpu());
    tokio::time::sleep(idle).await;
    let by_itself =
        (plane.process().cpu() - before).as_secs_f64() / (clock.monotonic() - begun).as_secs_f64();
    let (begun, before) = (clock.monotonic(), plane.process().cpu());
    let mut answer = String::new();
    for _ in 0..SCRAPES {
        answer = scraped(console).await?;
    }
    let spent = (plane.process().cpu() - before).as_secs_f64();
    let meanwhile = by_itself * (clock.monotonic() - begun).as_secs_f64();
    let series = answer.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    let cpu_ms = (spent - meanwhile).max(0.0) * 1e3 / f64::from(SCRAPES);
    Ok(Scrape { cpu_ms, bytes: answer.len(), series })
}

async fn scraped(console: SocketAddr) -> anyhow::Result<String> {
    let answer = http_get(console, "/metrics").await.context("no answer")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    Ok(body.to_owned())
}

fn row(size: usize, found: &[(Scrape, Scrape)]) -> Option<Value> {
    let of = |pick: fn(&(Scrape, Scrape)) -> f64| median(found.iter().map(pick).collect());
    let (empty, full) = (of(|it| it.0.cpu_ms), of(|it| it.1.cpu_ms));
    let (_, last) = found.last()?;
    let short = |value: f64| (value * 1000.0).round() / 1000.0;
    Some(json!({
        "sessions": size, "cpu_ms": short(full), "empty_cpu_ms": short(empty),
        "ratio": short(full / empty), "bytes": last.bytes, "series": last.series, "runs": found.len(),
    }))
}

/// The rows as a table.
pub(crate) fn print(rows: &[Value]) {
    println!("| sessions | CPU ms per scrape | of an empty process | ratio | series | bytes |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        let cells = ["sessions", "cpu_ms", "empty_cpu_ms", "ratio", "series", "bytes"];
        println!("| {} |", cells.map(|key| row[key].to_string()).join(" | "));
    }
}
