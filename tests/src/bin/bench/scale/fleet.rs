//! Sessions from few to many: the same control plane all the time, and hosts that come.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use muster_common::clock::Clock;
use muster_proto::{admin::v1 as pb, types::v1::BundleContent};
use muster_tests::{
    operator::file,
    plane::{Options, Plane},
};
use serde_json::{Value, json};

use super::{
    Asked,
    hosts::{Counts, Hosts},
};
use crate::{LIMIT, SETTLE, sessions::reports_stored};

/// What a control plane takes at most, as it is configured when nothing is said.
const MOST: usize = 18_000;
/// Between heartbeats: what nobody has changed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers a row for each number of sessions.
pub(super) async fn run(asked: &Asked) -> anyhow::Result<Vec<Value>> {
    let mut sizes = asked.sizes.clone();
    sizes.sort_unstable(); // the fleet only grows
    let largest = *sizes.last().context("no sizes")?;
    ensure!(largest <= MOST, "a control plane takes {MOST} sessions; more need more of them");
    let folder = tempfile::tempdir()?;
    let options = Options { log: "warn".to_owned(), heartbeat: HEARTBEAT, ..Options::default() };
    let mut plane = Plane::start(folder.path(), &options).await;
    let join = plane.join(i32::try_from(largest + 10)?, &[]).await;
    let mut hosts = Hosts::new(asked.processes, largest, &join)?;
    let (mut rows, mut before) = (Vec::new(), 0);
    for size in sizes {
        println!("{size} sessions");
        rows.push(at(&mut plane, &mut hosts, size, size - before, asked.idle).await?);
        before = size;
    }
    Ok(rows)
}

async fn at(
    plane: &mut Plane,
    hosts: &mut Hosts,
    size: usize,
    more: usize,
    idle: Duration,
) -> anyhow::Result<Value> {
    let clock = Clock::System;
    hosts.enroll(size).await?;
    tokio::time::sleep(SETTLE).await;
    let (cpu, begun, address) = (plane.process().cpu(), clock.monotonic(), plane.addresses().agents);
    hosts.open(address).await?;
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    let connect_cpu = plane.process().cpu() - cpu;
    tokio::time::sleep(SETTLE).await;
    let beats = |counts: &[Counts]| counts.iter().map(|it| it.beats).sum::<u64>();
    let (cpu, before) = (plane.process().cpu(), hosts.counts().await?);
    tokio::time::sleep(idle).await;
    let idle_cpu = (plane.process().cpu() - cpu).as_secs_f64() / idle.as_secs_f64();
    let after = hosts.counts().await?;
    let (beats, lost) = (beats(&after) - beats(&before), after.iter().map(|it| it.lost).sum::<u64>());
    ensure!(lost == 0, "{lost} sessions were lost with nothing going on");
    let memory = plane.process().rss_kib();
    let change = change(plane, hosts, size as u64).await?;
    Ok(json!({
        "sessions": size,
        "memory_mib": mib(memory),
        "connected": more,
        "connect_seconds": seconds,
        "connect_cpu_ms": ms(connect_cpu),
        "idle_cpu_percent": idle_cpu * 100.0,
        "beats_per_second": f64::from(u32::try_from(beats)?) / idle.as_secs_f64(),
        "write_ms": change.write,
        "received_ms": change.received,
        "stored_ms": change.stored,
        "change_cpu_ms": change.cpu,
        "memory_after_mib": mib(plane.process().rss_kib()),
    }))
}

/// Milliseconds of one change for all.
struct Change {
    write: f64,
    received: f64,
    stored: f64,
    cpu: f64,
}

async fn change(plane: &mut Plane, hosts: &mut Hosts, all: u64) -> anyhow::Result<Change> {
    let (clock, operator, console) = (Clock::System, plane.operator().await, plane.addresses().console);
    let content =
        BundleContent { files: vec![file(Path::new("/etc/bench"), &"x".repeat(1000))], ..Default::default() };
    operator.bundle("bench", content).await;
    let (stored, before) = (reports_stored(console).await?, hosts.counts().await?);
    let (cpu, begun) = (plane.process().cpu(), clock.monotonic());
    operator.assign("bench", "*", "bench").await;
    let write = ms(clock.monotonic() - begun);
    hosts.received(&before).await?;
    let received = ms(clock.monotonic() - begun);
    until_stored(console, stored + all).await?;
    let found = Change {
        write,
        received,
        stored: ms(clock.monotonic() - begun),
        cpu: ms(plane.process().cpu() - cpu),
    };
    // Those that come next are to find nothing to do.
    let gone = pb::DeleteAssignmentRequest { name: "bench".to_owned(), etag: String::new() };
    operator.assignments.clone().delete_assignment(gone).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(found)
}

async fn until_stored(console: std::net::SocketAddr, count: u64) -> anyhow::Result<()> {
    let begun = Clock::System.monotonic();
    while reports_stored(console).await? < count {
        ensure!(Clock::System.monotonic() - begun < LIMIT, "the answers were not all stored");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// KiB in MiB.
#[allow(clippy::cast_precision_loss)] // far below where it would show
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
