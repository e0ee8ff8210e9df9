//! How a control plane grows: what sessions cost it from a few to as many as it takes, and
//! how much it knows of a fleet whose hosts are mostly elsewhere. Sizing is read off these
//! slopes (`docs/scaling.md`).

mod cache;
mod fleet;
mod hosts;
mod line;
mod plot;

use std::{path::Path, time::Duration};

use anyhow::ensure;
use serde_json::{Value, json};

use line::Line;

/// What is asked for.
pub(crate) struct Asked {
    /// Numbers of sessions.
    pub(crate) sizes: Vec<usize>,
    /// Processes with hosts.
    pub(crate) processes: usize,
    /// How long heartbeats alone are watched.
    pub(crate) idle: Duration,
    /// Numbers of nodes in the store of a control plane without sessions.
    pub(crate) nodes: Vec<usize>,
}

/// Selectors are counted within this, at most.
const COUNT_BUDGET_MS: f64 = 100.0;
/// A node takes at most so much memory.
const NODE_BUDGET_BYTES: f64 = 1024.0;
/// Budgets are for fleets that are not smaller than this.
const LARGE: usize = 1_000_000;

/// What grows with sessions: its name in the rows, how it is called, and its unit.
const GROWS: [(&str, &str, &str); 5] = [
    ("memory_mib", "Memory", "MiB"),
    ("idle_cpu_percent", "CPU for heartbeats", "% of a core"),
    ("connect_cpu_ms", "CPU to connect those that came", "ms"),
    ("change_cpu_ms", "CPU for one change", "ms"),
    ("stored_ms", "One change until all is stored", "ms"),
];

/// Measures; answers all of it for programs.
pub(crate) async fn run(asked: &Asked) -> anyhow::Result<Value> {
    let sessions = fleet::run(asked).await?;
    let fits: Vec<Value> = GROWS.iter().filter_map(|(name, ..)| fit(&sessions, name)).collect();
    let mut nodes = Vec::new();
    for count in &asked.nodes {
        nodes.push(cache::run(*count).await?);
    }
    Ok(json!({ "sessions": sessions, "fits": fits, "nodes": nodes }))
}

fn points(rows: &[Value], name: &str) -> Vec<(f64, f64)> {
    rows.iter().filter_map(|row| Some((row["sessions"].as_f64()?, row[name].as_f64()?))).collect()
}

fn fit(rows: &[Value], name: &str) -> Option<Value> {
    let points = points(rows, name);
    let line = Line::through(&points)?;
    Some(json!({
        "name": name, "base": line.base, "per_session": line.slope, "worst_percent": line.worst_percent(&points),
    }))
}

/// Draws what grows with sessions into a folder.
pub(crate) fn draw(found: &Value, folder: &Path) -> anyhow::Result<()> {
    let rows = found["sessions"].as_array().map_or(&[][..], Vec::as_slice);
    let charts: Vec<plot::Chart<'_>> = GROWS
        .iter()
        .filter(|(name, ..)| *name != "connect_cpu_ms")
        .map(|(name, title, unit)| plot::Chart { title, unit, points: points(rows, name) })
        .collect();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("scale.svg"), plot::svg(&charts))?;
    Ok(())
}

/// For people.
pub(crate) fn print(found: &Value) {
    for key in ["sessions", "fits", "nodes"] {
        for row in found[key].as_array().into_iter().flatten() {
            println!("{key}: {row}");
        }
    }
}

/// Whether a large fleet is within its budgets.
pub(crate) fn judge(found: &Value) -> anyhow::Result<()> {
    let large = |row: &&Value| row["nodes"].as_u64().is_some_and(|nodes| nodes >= LARGE as u64);
    for row in found["nodes"].as_array().into_iter().flatten().filter(large) {
        let number = |name: &str| row[name].as_f64().unwrap_or(f64::INFINITY);
        ensure!(
            number("count_ms") <= COUNT_BUDGET_MS,
            "counting takes more than {COUNT_BUDGET_MS} ms: {row}"
        );
        ensure!(
            number("bytes_per_node") <= NODE_BUDGET_BYTES,
            "a node takes more than {NODE_BUDGET_BYTES} bytes: {row}"
        );
    }
    Ok(())
}
