//! One command to every node of a swarm, from the moment somebody asks for it until the
//! last result is stored, and where the time goes meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use muster_common::clock::{Clock, Instant};
use muster_proto::admin::v1 as pb;
use muster_tests::{
    operator::{Operator, script},
    plane::{Plane, http_get},
    swarm::Swarm,
};

use crate::LIMIT;

/// By name.
pub(super) type Figures = BTreeMap<&'static str, f64>;

/// Of a script, so that a push to a host is as large as that of the bare server.
const BYTES: usize = 900;
/// Workers of the control plane that commands pass through, and their figures.
const WORKERS: [(&str, &str); 3] =
    [("hand-out", "hand_out_ms"), ("record", "record_ms"), ("follow", "follow_ms")];

/// What was used up so far.
struct Used {
    cpu: Duration,
    written: u64,
    store: u64,
    revision: f64,
    workers: HashMap<&'static str, f64>,
}

/// Starts one operation on all nodes, and waits for its end.
pub(super) async fn command(plane: &mut Plane, swarm: &Swarm) -> anyhow::Result<Figures> {
    let operator = plane.operator().await;
    let all = swarm.probes.len() as u64;
    let answered_before = swarm.counters.answered.load(Ordering::Relaxed);
    let before = Used::now(plane, &operator).await?;
    let begun = Clock::System.monotonic();
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script(&format!("#{}\necho done\n", "x".repeat(BYTES)))),
        ..Default::default()
    };
    let started = operator.operations.clone().start_operation(request).await?.into_inner();
    let operation = started.operation.context("the operation")?;
    let start_ms = millis(Clock::System.monotonic() - begun);
    ensure!(u64::try_from(operation.counts.context("counts")?.total)? == all, "it goes to all");
    let heard =
        tokio::time::timeout(LIMIT, watch(&operator, &operation.id)).await.context("the watch ends")??;
    let reached = swarm.counters.reach(&swarm.counters.answered, answered_before + all, LIMIT).await;
    ensure!(reached, "all results are acknowledged");
    let after = Used::now(plane, &operator).await?;
    let seen: Vec<_> = swarm.probes.iter().map(|probe| probe.seen()).collect();
    let times = |of: &dyn Fn(&muster_tests::swarm::Seen) -> Option<Instant>| {
        Times::of(seen.iter().filter_map(of), begun)
    };
    let (received, stored) = (times(&|seen| seen.ordered), times(&|seen| seen.finished));
    let heard = Times::of(heard.into_values(), begun);
    let mut figures = before.until(&after, all)?;
    figures.extend([
        ("start_ms", start_ms),
        ("received_p50_ms", received.at(50)),
        ("received_p99_ms", received.at(99)),
        ("received_last_ms", received.at(100)),
        ("first_output_p50_ms", heard.at(50)),
        ("first_output_p99_ms", heard.at(99)),
        ("stored_p50_ms", stored.at(50)),
        ("stored_p99_ms", stored.at(99)),
        ("all_ms", stored.at(100)),
        ("commands_per_second", wide(all) / stored.at(100) * 1e3),
    ]);
    Ok(figures)
}

/// Follows an operation to its end: when its watcher had the first output of each command.
async fn watch(operator: &Operator, id: &str) -> anyhow::Result<HashMap<String, Instant>> {
    let (mut heard, mut resume_token) = (HashMap::new(), String::new());
    loop {
        let request = pb::WatchOperationRequest {
            id: id.to_owned(),
            with_output: true,
            resume_token: resume_token.clone(),
        };
        let mut stream = operator.operations.clone().watch_operation(request).await?.into_inner();
        // A watcher that shares its cores with thousands of hosts may be cut for being slow.
        while let Ok(Some(message)) = stream.message().await {
            if !message.resume_token.is_empty() {
                resume_token.clone_from(&message.resume_token);
            }
            if let Some(pb::watch_operation_response::Event::Output(output)) = message.event {
                heard.entry(output.command_id).or_insert_with(|| Clock::System.monotonic());
            }
        }
        let request = pb::GetOperationRequest { id: id.to_owned() };
        let found = operator.operations.clone().get_operation(request).await?.into_inner();
        let operation = found.operation.context("the operation")?;
        if operation.state() == pb::OperationState::Ended {
            return Ok(heard);
        }
    }
}

impl Used {
    async fn now(plane: &mut Plane, operator: &Operator) -> anyhow::Result<Self> {
        let metrics = http_get(plane.addresses().console, "/metrics").await.context("no metrics")?;
        let seconds = |worker: &str| {
            let name = format!("muster_worker_seconds_total{{worker=\"{worker}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok()).unwrap_or(0.0)
        };
        let files = std::fs::read_dir(plane.state())?.flatten();
        let is_store = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("muster.db");
        let sizes = files.filter(|file| is_store(&file.file_name())).filter_map(|file| file.metadata().ok());
        let store = sizes.map(|metadata| metadata.len()).sum();
        let process = plane.process();
        let (cpu, written) = (process.cpu(), process.written_bytes());
        let workers = WORKERS.iter().map(|(worker, name)| (*name, seconds(worker) * 1e3)).collect();
        Ok(Self { cpu, written, store, revision: revision(operator).await?, workers })
    }

    fn until(&self, after: &Self, commands: u64) -> anyhow::Result<Figures> {
        let each = wide(commands);
        let cpu = millis(after.cpu - self.cpu);
        let mut figures = Figures::from([
            ("cpu_ms", cpu),
            ("cpu_us_per_command", cpu * 1e3 / each),
            ("store_writes", after.revision - self.revision),
            ("written_bytes_per_command", wide(after.written.saturating_sub(self.written)) / each),
            ("store_bytes_per_command", wide(after.store.saturating_sub(self.store)) / each),
        ]);
        for (name, before) in &self.workers {
            let after = after.workers.get(name).context("the same workers")?;
            figures.insert(name, after - before);
        }
        Ok(figures)
    }
}

/// How many writes the store has taken.
async fn revision(operator: &Operator) -> anyhow::Result<f64> {
    let info = operator.system.clone().get_system(pb::GetSystemRequest {}).await?.into_inner();
    Ok(wide(info.revision))
}

/// Times since something, in order.
struct Times(Vec<f64>);

impl Times {
    fn of(all: impl Iterator<Item = Instant>, since: Instant) -> Self {
        let mut times: Vec<f64> = all.map(|at| millis(at.saturating_duration_since(since))).collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// That of so many in a hundred.
    fn at(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[allow(clippy::cast_precision_loss)] // far below where it would show
fn wide(value: u64) -> f64 {
    value as f64
}
