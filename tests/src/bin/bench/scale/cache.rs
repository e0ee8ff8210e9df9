//! A control plane that knows many nodes, and has no session: how long it takes to read
//! them, what they take of its memory, and how long it counts those of a selector.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use muster_common::clock::Clock;
use muster_proto::admin::v1::ListNodesRequest;
use muster_tests::{
    binaries,
    operator::Operator,
    plane::{Options, Plane},
    replicas::about,
};
use serde_json::{Value, json};

use crate::median;

/// A large store on a busy machine.
const LONG: Duration = Duration::from_secs(600);
/// Until the allocator has given back what reading a large store needed.
const SETTLE: Duration = Duration::from_secs(12);
/// Stores that are not smaller than this are large.
const LARGE: usize = 10_000;
/// As control planes are shipped: nodes that are not heard are gone after ten.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Of each selector, of which the median counts.
const RUNS: usize = 5;
/// Selectors that find many nodes, some, few and none.
const SELECTORS: [&str; 5] = [
    "env=prod",
    "team=team-7,region=eu-3",
    "facts.os-version=12,role notin (role-1,role-2)",
    "rack=r1",
    "nosuch",
];

/// Answers a row.
pub(super) async fn run(count: usize) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let options = Options { log: "warn".to_owned(), heartbeat: HEARTBEAT, ..Options::default() };
    let mut plane = Plane::start(folder.path(), &options).await;
    let settle = if count < LARGE { crate::SETTLE } else { SETTLE };
    tokio::time::sleep(settle).await;
    let empty = plane.process().rss_kib();
    plane.kill();
    println!("{count} nodes: into the store");
    let store = plane.state().join("muster.db");
    let done = Command::new(binaries::path("examples/nodes")).arg(&store).arg(count.to_string()).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    println!("{count} nodes: read");
    let begun = Clock::System.monotonic();
    // Where it listens stands in its configuration since its first start.
    plane.launch(&[]);
    plane.ready_within(LONG).await;
    let start = (Clock::System.monotonic() - begun).as_secs_f64();
    let peak = plane.process().peak_kib();
    let operator = plane.operator().await;
    let mut selectors = Vec::new();
    for selector in SELECTORS {
        let (found, ms) = counted(&operator, selector).await?;
        selectors.push(json!({ "selector": selector, "found": found, "ms": ms }));
    }
    tokio::time::sleep(settle).await;
    let held = plane.process().rss_kib();
    println!("{count} nodes: gone");
    let until = Clock::System.monotonic() + LONG;
    while about(&operator).await.nodes.is_none_or(|nodes| nodes.offline < nodes.total) {
        ensure!(Clock::System.monotonic() < until, "nodes that nobody hears are not offline");
        tokio::time::sleep(crate::SETTLE).await;
    }
    let peak_gone = plane.process().peak_kib();
    tokio::time::sleep(settle).await;
    let held_gone = plane.process().rss_kib();
    let worst = selectors.iter().filter_map(|it| it["ms"].as_f64()).fold(0.0, f64::max);
    let by_node = |held: u64| -> anyhow::Result<f64> {
        let bytes = f64::from(u32::try_from(held.saturating_sub(empty))?) * 1024.0;
        Ok(bytes / f64::from(u32::try_from(count)?))
    };
    Ok(json!({
        "nodes": count,
        "start_seconds": start,
        "memory_mib": held / 1024,
        "peak_mib": peak / 1024,
        "bytes_per_node": by_node(held)?,
        "gone_memory_mib": held_gone / 1024,
        "gone_peak_mib": peak_gone / 1024,
        "gone_bytes_per_node": by_node(held_gone)?,
        "count_ms": worst,
        "selectors": selectors,
        "store_mib": std::fs::metadata(&store)?.len() >> 20,
    }))
}

/// How many nodes a selector finds, and how long an operator waits for that.
async fn counted(operator: &Operator, selector: &str) -> anyhow::Result<(i64, f64)> {
    let (mut times, mut found) = (Vec::new(), None);
    for _ in 0..RUNS {
        let ask = ListNodesRequest { selector: selector.to_owned(), page_size: 1, ..Default::default() };
        let begun = Clock::System.monotonic();
        let answer = operator.nodes.clone().list_nodes(ask).await?.into_inner();
        times.push((Clock::System.monotonic() - begun).as_secs_f64() * 1e3);
        found = Some(answer.total_size);
    }
    Ok((found.context("it was asked")?, median(times)))
}
