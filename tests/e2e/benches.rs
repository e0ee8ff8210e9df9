//! The benches, once and small: that they run, and say what they promise to say.

use std::{collections::BTreeSet, process::Command};

use muster_tests::binaries;
use serde_json::Value;

#[test]
fn the_session_bench_writes_every_figure_that_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sessions.json");
    let mut bench = Command::new(binaries::path("muster-bench"));
    let done = bench.args(["--sizes", "100", "--runs", "1", "--out"]).arg(&out).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let names: BTreeSet<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let promised = [
        "agent_idle_rss",
        "connects_per_second",
        "cpu_per_connect",
        "cpu_per_heartbeat",
        "memory_per_session",
        "push_durable",
        "push_received",
    ];
    assert_eq!(names, BTreeSet::from(promised));
    for row in &rows {
        assert!(row["unit"].is_string(), "{row}");
        for key in ["n", "muster", "bare", "ratio", "runs"] {
            assert!(row[key].is_number(), "{row} has no {key}");
        }
        if row["name"].as_str().is_some_and(|name| name.starts_with("push")) {
            assert!(row["muster_cpu_ms"].is_number() && row["bare_cpu_ms"].is_number(), "{row}");
        }
    }
}
