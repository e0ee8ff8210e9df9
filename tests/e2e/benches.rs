//! The benches, once and small: that they run, and say what they promise to say.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use muster_tests::binaries;
use serde_json::Value;

/// A bench is alone with the machine, as far as we can see to it.
static TURN: Mutex<()> = Mutex::new(());

/// Runs the benches with these arguments; answers the file that they wrote.
fn bench(args: &[&str], folder: &Path, file: &str) -> Value {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bench = Command::new(binaries::path("muster-bench"));
    let done = bench.args(args).arg("--out").arg(folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap()
}

#[test]
fn the_session_bench_writes_every_figure_that_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--only", "sessions", "--sizes", "100", "--runs", "1"];
    let found = bench(&args, folder.path(), "sessions.json");
    let rows = found.as_array().unwrap();
    let names: BTreeSet<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let promised = [
        "connects_per_second",
        "cpu_per_connect",
        "cpu_per_heartbeat",
        "memory_per_session",
        "push_durable",
        "push_received",
    ];
    assert_eq!(names, BTreeSet::from(promised));
    for row in rows {
        assert!(row["unit"].is_string(), "{row}");
        for key in ["n", "muster", "bare", "ratio", "runs"] {
            assert!(row[key].is_number(), "{row} has no {key}");
        }
        if row["name"].as_str().is_some_and(|name| name.starts_with("push")) {
            assert!(row["muster_cpu_ms"].is_number() && row["bare_cpu_ms"].is_number(), "{row}");
        }
    }
}

#[test]
fn the_convergence_bench_writes_every_figure_that_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--sizes", "30,60", "--states", "1,3", "--runs", "1"];
    let quick = ["--idle-seconds", "1", "--slow-seconds", "1"];
    let args: Vec<&str> = ["--only", "convergence"].into_iter().chain(small).chain(quick).collect();
    let found = bench(&args, folder.path(), "convergence.json");
    let points = found["points"].as_array().unwrap();
    let number = |point: &Value, key: &str| point[key].as_u64().unwrap();
    let sizes: Vec<_> = points.iter().map(|it| (number(it, "nodes"), number(it, "states"))).collect();
    assert_eq!(sizes, [(30, 1), (30, 3), (60, 1), (60, 3)]);
    for point in points {
        converged(&point["change"]);
        converged(&point["disturbed"]);
        let disturbed = |key: &str| point["disturbed"][key].as_f64().unwrap();
        // Nodes may have the change before whoever asked for it has an answer.
        assert!(disturbed("write_ms") + disturbed("last_ms") >= 1000.0, "slow hosts take a second: {point}");
        assert!(disturbed("slow") >= 1.0 && disturbed("rejecting") >= 1.0, "{point}");
        assert_eq!(point["disturbed"]["rejecting"], point["disturbed"]["shown_as_rejected"], "{point}");
        assert_eq!(point["disturbed"]["most_offers"], 1.0, "{point}");
        assert!(point["made_cpu_ms_per_state"].as_f64().unwrap() > 0.0, "{point}");
    }
    for key in ["base_ms", "us_per_node", "us_per_state", "worst_percent"] {
        assert!(found["fit"][key].is_number(), "{found}");
    }
}

#[test]
fn the_scale_bench_writes_every_figure_that_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let draw = folder.path().join("img");
    let small = ["--sizes", "20,60", "--planes", "2", "--planes-sizes", "30,60", "--idle-seconds", "1"];
    let rest = ["--nodes", "500", "--draw", draw.to_str().unwrap()];
    let args: Vec<&str> = ["--only", "scale"].into_iter().chain(small).chain(rest).collect();
    let found = bench(&args, folder.path(), "scale.json");
    let rows = |key: &str| found[key].as_array().unwrap();
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{row} has no {key}"));
    let sizes = |key| rows(key).iter().map(|row| number(row, "sessions")).collect::<Vec<_>>();
    assert_eq!((sizes("sessions"), sizes("planes")), (vec![20.0, 60.0], vec![30.0, 60.0]));
    for row in rows("sessions").iter().chain(rows("planes")) {
        for key in ["memory_mib", "connect_seconds", "connect_cpu_ms", "change_cpu_ms", "memory_after_mib"] {
            assert!(number(row, key) > 0.0, "{key} of {row}");
        }
        assert!(number(row, "idle_cpu_percent") >= 0.0 && number(row, "beats_per_second") >= 0.0, "{row}");
        assert!(number(row, "received_ms") <= number(row, "stored_ms"), "{row}");
    }
    for row in rows("planes") {
        let replicas = row["replicas"].as_array().unwrap();
        let sum = |key: &str| replicas.iter().map(|replica| number(replica, key)).sum::<f64>();
        assert_eq!(replicas.len(), 2, "{row}");
        assert!((sum("sessions") - number(row, "sessions")).abs() < 0.1, "{row}");
        assert!((sum("memory_mib") - number(row, "memory_mib")).abs() < 0.1, "{row}");
        assert!(number(&row["database"], "connect_cpu_ms") > 0.0, "{row}");
    }
    assert_eq!((rows("fits").len(), rows("planes_fits").len()), (5, 5));
    let [cache] = rows("nodes").as_slice() else { panic!("{found}") };
    assert_eq!((number(cache, "nodes"), cache["selectors"].as_array().unwrap().len()), (500.0, 5));
    assert_eq!(number(&cache["selectors"][0], "found"), 167.0, "every third is in production: {cache}");
    assert_eq!(number(&cache["selectors"][4], "found"), 0.0);
    for key in ["start_seconds", "bytes_per_node", "count_ms", "memory_mib", "peak_mib"] {
        assert!(number(cache, key) > 0.0, "{key} of {cache}");
    }
    let picture = fs::read_to_string(draw.join("scale.svg")).unwrap();
    assert_eq!(picture.matches("<circle").count(), 16, "two lines of two points in each of four charts");
}

#[test]
fn the_command_bench_writes_every_figure_that_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--only", "commands", "--sizes", "50,20", "--runs", "1"];
    let found = bench(&args, folder.path(), "commands.json");
    let [smaller, point] = found.as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&smaller["nodes"], &point["nodes"]), (&20.into(), &50.into()));
    let number = |key: &str| point["muster"][key].as_f64().unwrap_or_else(|| panic!("{point} has no {key}"));
    for times in [
        ["received_p50_ms", "received_p99_ms", "received_last_ms"].as_slice(),
        &["first_output_p50_ms", "first_output_p99_ms"],
        &["stored_p50_ms", "stored_p99_ms", "all_ms"],
    ] {
        let times: Vec<f64> = times.iter().map(|name| number(name)).collect();
        assert!(times.is_sorted() && times[0] > 0.0, "{point}");
    }
    for name in ["start_ms", "cpu_ms", "cpu_us_per_command", "commands_per_second", "store_writes"] {
        assert!(number(name) > 0.0, "{name} of {point}");
    }
    for name in ["hand_out_ms", "record_ms", "follow_ms"] {
        assert!(number(name) > 0.0, "{name} of {point}");
    }
    for name in ["written_bytes_per_command", "store_bytes_per_command"] {
        assert!(number(name) >= 0.0, "{name} of {point}");
    }
    assert!(point["bare"]["all_ms"].as_f64().unwrap() > 0.0, "{point}");
    assert!(point["bare"]["cpu_ms"].is_number(), "{point}");
}

#[test]
fn the_scrape_bench_writes_every_figure_that_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--only", "scrape", "--sizes", "30", "--runs", "1", "--idle-seconds", "1"];
    let found = bench(&args, folder.path(), "scrape.json");
    let [row] = found.as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!(row["sessions"], 30);
    for key in ["cpu_ms", "empty_cpu_ms", "ratio"] {
        assert!(row[key].as_f64().is_some_and(|it| it > 0.0), "{key} of {row}");
    }
    // Some hundred series, however many sessions there are.
    assert!(row["series"].as_u64().is_some_and(|it| (100..2000).contains(&it)), "{row}");
    assert!(row["bytes"].as_u64().is_some_and(|it| it > 10_000), "{row}");
}

#[test]
fn the_footprint_bench_writes_every_figure_that_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--only", "footprint", "--runs", "1", "--watch-seconds", "5", "--any-footprint"];
    let found = bench(&args, folder.path(), "footprint.json");
    let rows = found.as_array().unwrap();
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let promised = [
        "agent_rss",
        "agent_pss",
        "agent_cpu",
        "agent_wakes",
        "agent_sent",
        "agent_received",
        "agent_first_session",
        "agent_binary",
    ];
    assert_eq!(names, promised);
    for row in rows {
        assert!(row["unit"].is_string() && row["muster"].as_f64().is_some_and(|it| it >= 0.0), "{row}");
    }
    assert!(rows[0]["bare"].as_f64().unwrap() > 0.0 && rows[6]["muster"].as_f64().unwrap() > 0.0);
}

fn converged(figures: &Value) {
    let number = |key: &str| figures[key].as_f64().unwrap_or_else(|| panic!("{figures} has no {key}"));
    let times = ["p50_ms", "p99_ms", "last_ms"].map(number);
    assert!(times.is_sorted() && times[0] >= 0.0, "{figures}");
    assert!(number("received_p50_ms") <= number("received_last_ms"), "{figures}");
    assert!(number("received_last_ms") <= number("last_ms"), "{figures}");
    assert!(number("write_ms") > 0.0 && number("cpu_idle_ms") >= 0.0, "{figures}");
    assert!(number("cpu_ms").is_finite(), "{figures}");
    assert!(number("memory_before_kib") > 0.0, "{figures}");
    assert!(number("memory_peak_kib") >= number("memory_after_kib") / 2.0, "{figures}");
    // A temporary folder may be in memory: then nothing is written to a disk.
    assert!(number("written_kib") >= 0.0 && number("store_grown_kib") >= 0.0, "{figures}");
}
