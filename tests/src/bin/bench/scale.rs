//! How a control plane grows: what sessions cost it from a few to as many as it takes, and
//! how much it knows of a fleet whose hosts are mostly elsewhere; and the same of several on one
//! database. Sizing is read off these slopes (`docs/scaling.md`).

mod cache;
mod fleet;
mod line;
mod planes;
mod plot;

use std::{path::Path, time::Duration};

use anyhow::ensure;
use serde_json::{Value, json};

use line::Line;

/// What is asked for.
pub(crate) struct Asked {
    /// Numbers of sessions.
    pub(crate) sizes: Vec<usize>,
    /// Control planes on one database; of one alone this part is left out.
    pub(crate) planes: usize,
    /// Numbers of sessions that they have together.
    pub(crate) planes_sizes: Vec<usize>,
    /// Processes with hosts, at least.
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
    let sessions = fleet::run(asked, &asked.sizes, 1).await?;
    let planes = match asked.planes {
        0 | 1 => Vec::new(),
        count => fleet::run(asked, &asked.planes_sizes, count).await?,
    };
    let mut nodes = Vec::new();
    for count in &asked.nodes {
        nodes.push(cache::run(*count).await?);
    }
    let (fits, planes_fits) = (fits(&sessions), fits(&planes));
    Ok(json!({
        "sessions": sessions, "fits": fits, "planes": planes, "planes_fits": planes_fits, "nodes": nodes,
    }))
}

fn fits(rows: &[Value]) -> Vec<Value> {
    GROWS.iter().filter_map(|(name, ..)| fit(rows, name)).collect()
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
    let rows = |key: &str| found[key].as_array().map_or(&[][..], Vec::as_slice);
    let (one, several) = (rows("sessions"), rows("planes"));
    let count = several.first().and_then(|row| row["replicas"].as_array()).map_or(0, Vec::len);
    let several_are = format!("{count} control planes together, on PostgreSQL");
    let chart = |(name, title, unit): &(&str, &'static str, &'static str)| {
        let mut lines = vec![plot::Line { label: "one control plane, on SQLite", points: points(one, name) }];
        if !several.is_empty() {
            lines.push(plot::Line { label: &several_are, points: points(several, name) });
        }
        plot::Chart { title, unit, lines }
    };
    let charts: Vec<plot::Chart<'_>> =
        GROWS.iter().filter(|(name, ..)| *name != "connect_cpu_ms").map(chart).collect();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("scale.svg"), plot::svg(&charts))?;
    Ok(())
}

/// For people.
pub(crate) fn print(found: &Value) {
    for key in ["sessions", "fits", "planes", "planes_fits", "nodes"] {
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
