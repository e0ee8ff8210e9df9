//! What a session, a heartbeat, a connect and a push cost, as ratios to a bare tonic
//! server that does the same in the same run, with the same client process.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::atomic::Ordering, time::Duration};

use anyhow::{Context as _, ensure};
use muster_common::{clock::Clock, tls::pem};
use muster_proto::{admin::v1 as pb, types::v1::BundleContent};
use muster_tests::{
    operator::file,
    plane::{Options, Plane, TRUST_DOMAIN, http_get},
    process::Process,
    swarm::{self, Identity, Swarm},
    told::Told,
};
use serde_json::json;

use crate::{AT_ONCE, LIMIT, SETTLE, median};

/// Heartbeats a second, whatever the number of sessions.
const BEATS_PER_SECOND: usize = 2000;
/// No shorter interval can be configured.
const LEAST: Duration = Duration::from_millis(200);
/// How long heartbeats are counted.
const WINDOW: Duration = Duration::from_secs(12);

/// What one run of one server shows, by figure.
type Figures = BTreeMap<&'static str, f64>;

/// Measures all sizes; answers the rows of the table.
pub(crate) async fn run(sizes: &[usize], runs: usize) -> anyhow::Result<Vec<serde_json::Value>> {
    let largest = sizes.iter().copied().max().context("no sizes")?;
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    let mut plane = Plane::init(folder.path(), &Options { log: "warn".to_owned(), ..Options::default() });
    // A bare stream has no such bound: what is measured is what a connect costs.
    plane.configure_in("doors.agents", "handshakes-per-second", "1000000");
    plane.serve(&[]).await;
    println!("enrolling {largest} hosts");
    let join = plane.join(i32::try_from(largest + 10)?, &[]).await;
    let identities = swarm::enroll(&join, largest).await?;
    hand_over(&plane, folder.path())?;
    for &size in sizes {
        let interval = Duration::from_millis(u64::try_from(size * 1000 / BEATS_PER_SECOND)?).max(LEAST);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            println!("{size} sessions, run {run} of {runs}");
            theirs.push(bare(folder.path(), &identities[..size], interval).await?);
            ours.push(muster(&mut plane, &identities[..size], interval).await?);
        }
        rows.extend(compare(size, runs, &ours, &theirs));
    }
    Ok(rows)
}

/// What the bare server and the bare client need, beside the control plane.
pub(crate) fn hand_over(plane: &Plane, folder: &Path) -> anyhow::Result<()> {
    let uri = format!("spiffe://{TRUST_DOMAIN}/control-plane/bare");
    let identity = swarm::server_identity(&plane.state().join("ca/1"), &uri)?;
    std::fs::write(folder.join("bare.crt"), pem::encode_certificates(&identity.chain))?;
    std::fs::write(folder.join("bare.key"), pem::encode("PRIVATE KEY", identity.key.secret_der()))?;
    std::fs::write(folder.join("domain"), TRUST_DOMAIN)?;
    std::fs::copy(plane.state().join("operators/ca.crt"), folder.join("ca.crt"))?;
    Ok(())
}

async fn bare(folder: &Path, identities: &[Identity], interval: Duration) -> anyhow::Result<Figures> {
    let folder = folder.to_string_lossy().into_owned();
    let mut bare = Told::start("muster-bare", &[&folder, &interval.as_millis().to_string()])?;
    let address: SocketAddr = bare.line()?.parse()?;
    let swarm_of = Measure { identities, address };
    let (mut figures, swarm) = swarm_of.sessions(&bare.process).await?;
    let cpu = bare.process.cpu();
    let begun = Clock::System.monotonic();
    bare.say("push")?;
    let all = identities.len() as u64;
    ensure!(swarm.counters.reach(&swarm.counters.received, all, LIMIT).await, "the push did not reach all");
    figures.insert("push_received", (Clock::System.monotonic() - begun).as_secs_f64() * 1e3);
    figures.insert("push_received_cpu", (bare.process.cpu() - cpu).as_secs_f64() * 1e3);
    let (mut bare, line) = tokio::task::spawn_blocking(move || {
        let line = bare.line();
        (bare, line)
    })
    .await?;
    ensure!(line? == "acked", "it says when all have answered");
    figures.insert("push_durable", (Clock::System.monotonic() - begun).as_secs_f64() * 1e3);
    figures.insert("push_durable_cpu", (bare.process.cpu() - cpu).as_secs_f64() * 1e3);
    swarm.end().await;
    bare.process.kill();
    Ok(figures)
}

async fn muster(plane: &mut Plane, identities: &[Identity], interval: Duration) -> anyhow::Result<Figures> {
    serve_with(plane, interval).await;
    // What was read and made at the start is not the sessions' doing.
    tokio::time::sleep(SETTLE).await;
    let address = plane.addresses().agents;
    let (mut figures, swarm) = Measure { identities, address }.sessions(plane.process()).await?;
    push(plane, &swarm, identities.len() as u64, &mut figures).await?;
    swarm.end().await;
    Ok(figures)
}

async fn serve_with(plane: &mut Plane, interval: Duration) {
    plane.kill();
    plane.configure("heartbeat-interval", &format!("\"{}ms\"", interval.as_millis()));
    plane.configure("heartbeat-jitter", &format!("\"{}ms\"", interval.as_millis() / 10));
    plane.serve(&[]).await;
}

async fn push(plane: &mut Plane, swarm: &Swarm, all: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let operator = plane.operator().await;
    let text = format!("{}{}", Clock::System.now().0, "x".repeat(990));
    let content = BundleContent { files: vec![file(Path::new("/etc/bench"), &text)], ..Default::default() };
    operator.bundle("bench", content).await;
    let console = plane.addresses().console;
    let stored = reports_stored(console).await?;
    let (cpu, begun) = (plane.process().cpu(), Clock::System.monotonic());
    operator.assign("bench", "*", "bench").await;
    ensure!(swarm.counters.reach(&swarm.counters.received, all, LIMIT).await, "the push did not reach all");
    figures.insert("push_received", (Clock::System.monotonic() - begun).as_secs_f64() * 1e3);
    figures.insert("push_received_cpu", (plane.process().cpu() - cpu).as_secs_f64() * 1e3);
    while reports_stored(console).await? < stored + all {
        ensure!(Clock::System.monotonic() - begun < LIMIT, "the acknowledgements were not all stored");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    figures.insert("push_durable", (Clock::System.monotonic() - begun).as_secs_f64() * 1e3);
    figures.insert("push_durable_cpu", (plane.process().cpu() - cpu).as_secs_f64() * 1e3);
    operator
        .assignments
        .clone()
        .delete_assignment(pb::DeleteAssignmentRequest { name: "bench".to_owned(), etag: String::new() })
        .await?;
    Ok(())
}

pub(crate) async fn reports_stored(console: SocketAddr) -> anyhow::Result<u64> {
    let metrics = http_get(console, "/metrics").await.context("no metrics")?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("muster_item_reports_stored_total "));
    Ok(line.context("no such metric")?.trim().parse()?)
}

struct Measure<'a> {
    identities: &'a [Identity],
    address: SocketAddr,
}

impl Measure<'_> {
    /// Connects all, lets them beat, and says what it cost the server.
    async fn sessions(&self, server: &Process) -> anyhow::Result<(Figures, Swarm)> {
        let (count, clock) = (self.identities.len(), Clock::System);
        let sessions = f64::from(u32::try_from(count)?);
        let (rss, cpu, begun) = (server.rss_kib(), server.cpu(), clock.monotonic());
        let swarm = Swarm::start(self.address, self.identities, AT_ONCE);
        let all = count as u64;
        ensure!(swarm.counters.reach(&swarm.counters.opened, all, LIMIT).await, "not all came up");
        let seconds = (clock.monotonic() - begun).as_secs_f64();
        let connect_cpu = (server.cpu() - cpu).as_secs_f64();
        tokio::time::sleep(SETTLE).await;
        let (beats, cpu) = (swarm.counters.beats.load(Ordering::Relaxed), server.cpu());
        tokio::time::sleep(WINDOW).await;
        let beats = swarm.counters.beats.load(Ordering::Relaxed) - beats;
        let beat_cpu = (server.cpu() - cpu).as_secs_f64();
        // After the load, when the allocator has given back what the handshakes needed.
        let held = server.rss_kib().saturating_sub(rss);
        let figures = Figures::from([
            ("memory_per_session", f64::from(u32::try_from(held)?) / sessions),
            ("connects_per_second", sessions / seconds),
            ("cpu_per_connect", connect_cpu * 1e3 / sessions),
            ("cpu_per_heartbeat", beat_cpu * 1e6 / f64::from(u32::try_from(beats)?)),
        ]);
        Ok((figures, swarm))
    }
}

fn row(name: &str, unit: &str, n: usize, muster: f64, bare: f64, runs: usize) -> serde_json::Value {
    let short = |value: f64| (value * 1000.0).round() / 1000.0;
    json!({
        "name": name, "unit": unit, "n": n, "muster": short(muster), "bare": short(bare),
        "ratio": short(muster / bare), "runs": runs,
    })
}

fn compare(size: usize, runs: usize, ours: &[Figures], theirs: &[Figures]) -> Vec<serde_json::Value> {
    let units = [
        ("memory_per_session", "KiB"),
        ("cpu_per_heartbeat", "us"),
        ("cpu_per_connect", "ms"),
        ("connects_per_second", "1/s"),
        ("push_received", "ms"),
        ("push_durable", "ms"),
    ];
    let of = |all: &[Figures], name: &str| {
        median(all.iter().filter_map(|figures| figures.get(name).copied()).collect())
    };
    let figure = |(name, unit): (&str, &str)| {
        let mut row = row(name, unit, size, of(ours, name), of(theirs, name), runs);
        if name.starts_with("push") {
            let cpu = format!("{name}_cpu");
            row["muster_cpu_ms"] = json!(of(ours, &cpu));
            row["bare_cpu_ms"] = json!(of(theirs, &cpu));
        }
        row
    };
    units.into_iter().map(figure).collect()
}

/// The rows as a table.
pub(crate) fn print(rows: &[serde_json::Value]) {
    println!("| figure | n | Muster | bare | ratio | unit |\n|---|---|---|---|---|---|");
    for row in rows {
        let text = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        let (name, n, unit) = (text("name"), text("n"), text("unit"));
        println!("| {name} | {n} | {} | {} | {} | {unit} |", text("muster"), text("bare"), text("ratio"));
    }
}
