//! What an idle agent costs its host, at the default heartbeat interval: memory, processor
//! time, traffic, size of the program, and how long it takes from its start to its first
//! session. Beside it a minimal client on a stream of the same rhythm. The agent is split: it is
//! the half without rights that is measured, as the other one ends when nobody asks it.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use anyhow::ensure;
use muster_common::clock::Clock;
use muster_proto::admin::v1::Liveness;
use muster_tests::{
    agent::{Agent, OPEN},
    binaries,
    eventually::{LONG, eventually},
    plane::{Options, Plane},
    relay::Relay,
    told::Told,
};
use serde_json::{Value, json};

use crate::{SETTLE, median, sessions::hand_over};

/// As hosts have it unless somebody says another.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One figure.
pub(crate) struct Row {
    name: &'static str,
    unit: &'static str,
    muster: f64,
    /// Of the minimal client, where it has one.
    bare: Option<f64>,
    /// No more than this.
    budget: Option<f64>,
}

/// What one run shows.
#[derive(Default)]
struct Run {
    rss: f64,
    bare_rss: f64,
    pss: f64,
    bare_pss: f64,
    cpu: f64,
    bare_cpu: f64,
    wakes: f64,
    bare_wakes: f64,
    sent: f64,
    received: f64,
    first_session: f64,
}

/// Measures.
pub(crate) async fn run(runs: usize, watch: Duration) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let options = Options { log: "warn".to_owned(), heartbeat: HEARTBEAT, ..Options::default() };
    let mut plane = Plane::start(folder.path(), &options).await;
    hand_over(&plane, folder.path())?;
    let relay = Relay::start(plane.addresses().agents, || true).await;
    // The agent's user is to find its host there.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    plane.configure("session-addresses", &format!("[\"{}\"]", relay.address()));
    let mut all = Vec::new();
    for number in 1..=runs {
        println!("an idle agent for {} s, run {number} of {runs}", watch.as_secs());
        plane.kill();
        plane.serve(&[]).await; // what it counts begins at 0 again
        all.push(one(&plane, &relay, folder.path(), number, watch).await?);
    }
    let of = |figure: fn(&Run) -> f64| median(all.iter().map(figure).collect());
    let bytes = std::fs::metadata(binaries::path("muster-node-agent"))?.len();
    Ok(vec![
        row("agent_rss", "KiB", of(|run| run.rss), Some(of(|run| run.bare_rss)), Some(10.0 * 1024.0)),
        row("agent_pss", "KiB", of(|run| run.pss), Some(of(|run| run.bare_pss)), None),
        row("agent_cpu", "% of a core", of(|run| run.cpu), Some(of(|run| run.bare_cpu)), Some(0.02)),
        row("agent_wakes", "a minute", of(|run| run.wakes), Some(of(|run| run.bare_wakes)), None),
        row("agent_sent", "KiB/h", of(|run| run.sent), None, None),
        row("agent_received", "KiB/h", of(|run| run.received), None, None),
        row("agent_first_session", "ms", of(|run| run.first_session), None, None),
        row("agent_binary", "KiB", kib(bytes), None, Some(12.0 * 1024.0)),
    ])
}

async fn one(
    plane: &Plane,
    relay: &Relay,
    folder: &Path,
    number: usize,
    watch: Duration,
) -> anyhow::Result<Run> {
    let mut agent = Agent::host(folder, &format!("idle-{number}"), OPEN);
    agent.connect(&plane.join(1, &[]).await);
    let begun = Clock::System.monotonic();
    agent.run_split();
    eventually("its first session", LONG, || async {
        (plane.metric("muster_sessions_opened_total").await > 0).then_some(())
    })
    .await;
    let first_session = (Clock::System.monotonic() - begun).as_secs_f64() * 1e3;
    plane.operator().await.until_liveness(&agent.node, Liveness::Online).await;
    let interval = HEARTBEAT.as_millis().to_string();
    let mut server = Told::start("muster-bare", &[&folder.to_string_lossy(), &interval])?;
    let address = server.line()?;
    let mut client = Told::start("muster-bare-client", &[&folder.to_string_lossy(), &address])?;
    ensure!(client.line()? == "connected", "the minimal client connects");
    tokio::time::sleep(SETTLE * 2).await;
    let (sent, received) = relay.bytes();
    let (cpu, bare_cpu) = (agent.process().cpu(), client.process.cpu());
    let (sleeps, bare_sleeps) = (agent.process().sleeps(), client.process.sleeps());
    tokio::time::sleep(watch).await;
    let now = relay.bytes();
    let percent = |used: Duration| used.as_secs_f64() / watch.as_secs_f64() * 100.0;
    // A thread that has ended meanwhile counts no more.
    let per_minute = |now: u64, then: u64| float(now.saturating_sub(then)) * 60.0 / watch.as_secs_f64();
    let per_hour = |bytes: u64| kib(bytes) * 3600.0 / watch.as_secs_f64();
    Ok(Run {
        rss: kib(agent.rss_kib() * 1024),
        bare_rss: kib(client.process.rss_kib() * 1024),
        pss: kib(agent.process().pss_kib() * 1024),
        bare_pss: kib(client.process.pss_kib() * 1024),
        cpu: percent(agent.process().cpu() - cpu),
        bare_cpu: percent(client.process.cpu() - bare_cpu),
        wakes: per_minute(agent.process().sleeps(), sleeps),
        bare_wakes: per_minute(client.process.sleeps(), bare_sleeps),
        sent: per_hour(now.0 - sent),
        received: per_hour(now.1 - received),
        first_session,
    })
}

const fn row(
    name: &'static str,
    unit: &'static str,
    muster: f64,
    bare: Option<f64>,
    budget: Option<f64>,
) -> Row {
    Row { name, unit, muster, bare, budget }
}

fn kib(bytes: u64) -> f64 {
    float(bytes) / 1024.0
}

#[allow(clippy::cast_precision_loss)] // far below where it would show
fn float(count: u64) -> f64 {
    count as f64
}

/// As a table.
pub(crate) fn print(rows: &[Row]) {
    println!("| figure | Muster | bare | budget |\n|---|---|---|---|");
    let some = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
    for row in rows {
        let (bare, budget) = (some(row.bare), some(row.budget));
        println!("| {}, {} | {:.3} | {bare} | {budget} |", row.name, row.unit, row.muster);
    }
}

/// For programs.
pub(crate) fn json(rows: &[Row]) -> Value {
    let object = |row: &Row| {
        json!({
            "name": row.name, "unit": row.unit, "muster": row.muster, "bare": row.bare, "budget": row.budget,
        })
    };
    rows.iter().map(object).collect()
}

/// Whether all is within its budget.
pub(crate) fn judge(rows: &[Row]) -> anyhow::Result<()> {
    let over = |row: &&Row| row.budget.is_some_and(|budget| row.muster > budget);
    let missed: Vec<&str> = rows.iter().filter(over).map(|row| row.name).collect();
    ensure!(missed.is_empty(), "over budget: {}", missed.join(", "));
    Ok(())
}
