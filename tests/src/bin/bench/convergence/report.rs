//! What was found, for people and for programs.

use anyhow::ensure;
use serde_json::{Value, json};

use super::{
    Found,
    point::{Figures, Point},
};

/// Twice the nodes may need so many times the CPU.
const AT_MOST: f64 = 2.3;
/// Between these numbers of nodes.
const HALF: usize = 5000;
const FULL: usize = 10_000;

/// Everything.
pub(crate) fn json(found: &Found) -> Value {
    let figures = |figures: &Figures| {
        figures.0.iter().map(|(name, value)| ((*name).to_owned(), json!(short(*value)))).collect::<Value>()
    };
    let point = |point: &Point| {
        json!({
            "nodes": point.nodes,
            "states": point.states,
            "made_ms_per_state": short(point.made.ms),
            "made_cpu_ms_per_state": short(point.made.cpu_ms),
            "change": figures(&point.change),
            "disturbed": figures(&point.disturbed),
        })
    };
    let fit = found.fit.map(|fit| {
        json!({
            "base_ms": short(fit.base),
            "us_per_node": short(fit.node * 1e3),
            "us_per_state": short(fit.state * 1e3),
            "worst_percent": short(fit.worst_percent),
        })
    });
    let ratio = |(states, ratio): (usize, f64)| json!({ "states": states, "cpu_ratio": short(ratio) });
    json!({
        "points": found.points.iter().map(point).collect::<Vec<_>>(),
        "fit": fit,
        "doubled": ratios(found).into_iter().map(ratio).collect::<Vec<_>>(),
    })
}

/// As tables.
pub(crate) fn print(found: &Found) {
    println!(
        "| nodes | states | hosts | p50, ms | p99, ms | last, ms | CPU, ms | memory before, peak, after, MiB | written, KiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for point in &found.points {
        row(point, "prompt", &point.change);
        let (slow, rejecting) = (point.disturbed.get("slow"), point.disturbed.get("rejecting"));
        row(point, &format!("{slow} slow, {rejecting} rejecting"), &point.disturbed);
    }
    println!("\n| nodes | states | made, ms of a state | CPU of that, ms |\n|---|---|---|---|");
    for point in &found.points {
        println!("| {} | {} | {:.1} | {:.1} |", point.nodes, point.states, point.made.ms, point.made.cpu_ms);
    }
    if let Some(fit) = &found.fit {
        println!(
            "\nCPU of a change: {:.1} ms + {:.1} us · nodes + {:.1} us · states; at most {:.0} % off",
            fit.base,
            fit.node * 1e3,
            fit.state * 1e3,
            fit.worst_percent
        );
    }
    for (states, ratio) in ratios(found) {
        println!("CPU for {FULL} nodes over {HALF}, {states} states: {ratio:.2}");
    }
}

fn row(point: &Point, hosts: &str, figures: &Figures) {
    let mib = |name: &str| figures.get(name) / 1024.0;
    println!(
        "| {} | {} | {hosts} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0}, {:.0}, {:.0} | {:.0} |",
        point.nodes,
        point.states,
        figures.get("p50_ms"),
        figures.get("p99_ms"),
        figures.get("last_ms"),
        figures.cpu_ms(),
        mib("memory_before_kib"),
        mib("memory_peak_kib"),
        mib("memory_after_kib"),
        figures.get("written_kib"),
    );
}

/// That a change for twice the nodes does not cost much more than twice, where both were measured.
pub(crate) fn judge(found: &Found) -> anyhow::Result<()> {
    for (states, ratio) in ratios(found) {
        ensure!(
            ratio <= AT_MOST,
            "with {states} states a change costs {ratio:.2} times as much for {FULL} nodes as for {HALF}, at most {AT_MOST} is borne"
        );
    }
    Ok(())
}

fn ratios(found: &Found) -> Vec<(usize, f64)> {
    let cpu = |nodes: usize, states: usize| {
        let point = found.points.iter().find(|point| point.nodes == nodes && point.states == states);
        point.map(|point| point.change.cpu_ms())
    };
    let full = found.points.iter().filter(|point| point.nodes == FULL);
    full.filter_map(|point| Some((point.states, point.change.cpu_ms() / cpu(HALF, point.states)?))).collect()
}

fn short(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
