//! Sessions from few to many: the same control planes all the time, and hosts that come.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use muster_common::clock::Clock;
use muster_proto::{admin::v1 as pb, types::v1::BundleContent};
use muster_tests::{
    operator::file,
    swarms::{Counts, Swarms},
};
use serde_json::{Value, json};

use super::{
    Asked,
    planes::{Each, Planes},
};
use crate::{AT_ONCE, LIMIT, SETTLE};

/// What a control plane takes at most, as it is configured when nothing is said: 18,000
/// connections, of which one in 32 is for those that are told that there is no room.
const MOST: usize = 18_000 - 18_000 / 32;
/// What a process of hosts has descriptors for.
const MOST_HOSTS: usize = 18_000;

/// Answers a row for each number of sessions, which so many control planes have together.
pub(super) async fn run(asked: &Asked, sizes: &[usize], count: usize) -> anyhow::Result<Vec<Value>> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable(); // the fleet only grows
    let largest = *sizes.last().context("no sizes")?;
    let most = MOST * count;
    ensure!(largest <= most, "{count} control planes take {most} sessions; more need more of them");
    let processes = asked.processes.max(largest.div_ceil(MOST_HOSTS));
    let mut planes = Planes::start(count).await?;
    let join = planes.first().join(i32::try_from(largest + 10)?, &[]).await;
    let mut hosts = Swarms::new(processes, largest, AT_ONCE, &join)?;
    let (mut rows, mut before) = (Vec::new(), 0);
    for size in sizes {
        println!("{size} sessions, control planes: {count}");
        let mut at = At { planes: &mut planes, hosts: &mut hosts, size, more: size - before };
        rows.push(at.measure(asked.idle).await?);
        before = size;
    }
    Ok(rows)
}

/// So many sessions, of which some come first.
struct At<'a> {
    planes: &'a mut Planes,
    hosts: &'a mut Swarms,
    size: usize,
    more: usize,
}

/// Milliseconds of one change for all.
struct Change {
    write: f64,
    received: f64,
    stored: f64,
    cpu: Each<Duration>,
}

impl At<'_> {
    async fn measure(&mut self, idle: Duration) -> anyhow::Result<Value> {
        self.hosts.enroll(self.size).await?;
        tokio::time::sleep(SETTLE).await;
        let (clock, cpu) = (Clock::System, self.planes.cpu());
        let begun = clock.monotonic();
        self.hosts.open(&self.planes.agents()).await?;
        let seconds = (clock.monotonic() - begun).as_secs_f64();
        let connect_cpu = self.planes.cpu().since(&cpu);
        tokio::time::sleep(SETTLE).await;
        let (idle_cpu, beats) = self.idle(idle).await?;
        let (memory, sessions) = (self.planes.memory(), self.planes.sessions(self.size).await);
        let change = self.change().await?;
        let percent = |used: Duration| used.as_secs_f64() / idle.as_secs_f64() * 100.0;
        let replica = |(n, sessions): (usize, &i64)| {
            json!({
                "sessions": sessions,
                "memory_mib": mib(memory[n]),
                "connect_cpu_ms": ms(connect_cpu.planes[n]),
                "idle_cpu_percent": percent(idle_cpu.planes[n]),
                "change_cpu_ms": ms(change.cpu.planes[n]),
            })
        };
        Ok(json!({
            "sessions": self.size,
            "memory_mib": mib(memory.iter().sum()),
            "connected": self.more,
            "connect_seconds": seconds,
            "connect_cpu_ms": ms(connect_cpu.sum()),
            "idle_cpu_percent": percent(idle_cpu.sum()),
            "beats_per_second": beats,
            "write_ms": change.write,
            "received_ms": change.received,
            "stored_ms": change.stored,
            "change_cpu_ms": ms(change.cpu.sum()),
            "memory_after_mib": mib(self.planes.memory().iter().sum()),
            "replicas": sessions.iter().enumerate().map(replica).collect::<Vec<_>>(),
            "database": connect_cpu.database.map(|connect| json!({
                "connect_cpu_ms": ms(connect),
                "idle_cpu_percent": idle_cpu.database.map(percent),
                "change_cpu_ms": change.cpu.database.map(ms),
            })),
        }))
    }

    /// What heartbeats alone cost, and how many come in a second.
    async fn idle(&mut self, idle: Duration) -> anyhow::Result<(Each<Duration>, f64)> {
        let beats = |counts: &[Counts]| counts.iter().map(|it| it.beats).sum::<u64>();
        let (cpu, before) = (self.planes.cpu(), self.hosts.counts().await?);
        tokio::time::sleep(idle).await;
        let used = self.planes.cpu().since(&cpu);
        let after = self.hosts.counts().await?;
        let (beats, lost) = (beats(&after) - beats(&before), after.iter().map(|it| it.lost).sum::<u64>());
        ensure!(lost == 0, "{lost} sessions were lost with nothing going on");
        Ok((used, f64::from(u32::try_from(beats)?) / idle.as_secs_f64()))
    }

    async fn change(&mut self) -> anyhow::Result<Change> {
        let (clock, operator) = (Clock::System, self.planes.operator().await);
        let content = BundleContent {
            files: vec![file(Path::new("/etc/bench"), &"x".repeat(1000))],
            ..Default::default()
        };
        operator.bundle("bench", content).await;
        let (stored, before) = (self.planes.reports_stored().await?, self.hosts.counts().await?);
        let (cpu, begun) = (self.planes.cpu(), clock.monotonic());
        operator.assign("bench", "*", "bench").await;
        let write = ms(clock.monotonic() - begun);
        self.hosts.received(&before).await?;
        let received = ms(clock.monotonic() - begun);
        self.until_stored(stored + self.size as u64).await?;
        let stored = ms(clock.monotonic() - begun);
        let found = Change { write, received, stored, cpu: self.planes.cpu().since(&cpu) };
        // Those that come next are to find nothing to do.
        let gone = pb::DeleteAssignmentRequest { name: "bench".to_owned(), etag: String::new() };
        operator.assignments.clone().delete_assignment(gone).await?;
        tokio::time::sleep(SETTLE).await;
        Ok(found)
    }

    async fn until_stored(&self, count: u64) -> anyhow::Result<()> {
        let begun = Clock::System.monotonic();
        while self.planes.reports_stored().await? < count {
            ensure!(Clock::System.monotonic() - begun < LIMIT, "the answers were not all stored");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// KiB in MiB.
#[allow(clippy::cast_precision_loss)] // far below where it would show
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
