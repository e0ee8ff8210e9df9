//! The registry and the page about it say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::*;

const PAGE: &str = include_str!("../../../docs/metrics.md");

/// One of everything.
fn filled() -> Metrics {
    let metrics = Metrics::default();
    let second = Duration::from_secs(1);
    metrics.heartbeat();
    metrics.heartbeat_late(second);
    metrics.session_opened();
    metrics.session_closed("lost");
    metrics.nodes_by_liveness("online", 1);
    metrics.liveness_changed("offline", "Silent");
    metrics.false_offline("session");
    metrics.reports_stored(1);
    metrics.item_report_stored();
    metrics.unknown_message();
    metrics.connection("agents", 1);
    metrics.handshake("agents", "X25519MLKEM768");
    metrics.handshake_failed("agents", "silent");
    metrics.handshake_took("agents", "done", second);
    metrics.limit_met("agents", "silent");
    metrics.refused("RATE_LIMITED");
    metrics.enrollment_refused("TOKEN_UNKNOWN");
    metrics.queue_full("recorder");
    metrics.queued("recorder", 1);
    metrics.shed("reports");
    metrics.writes_waiting("control", 1);
    metrics.store_behind(second);
    metrics.transaction_took("read", second);
    metrics.committed(2, 1, second);
    metrics.writes_failed(1);
    metrics.feed_behind(1, second);
    metrics.replicas(3, true, second, 1);
    metrics.commands_open(BTreeMap::from([(("reboot".to_owned(), "queued"), 1)]));
    metrics.command_ended("reboot", "failed", "INTERNAL", second);
    metrics.rollouts_open("running", 1);
    metrics.rollout_ended("succeeded");
    metrics.rollout_nodes(Standings { done: 1, ..Standings::default() });
    metrics.converged("applied", second);
    metrics.change(CHANGES_SHOWN[0], second, 1);
    metrics.recovered();
    metrics.quarantined("OtherMachine");
    metrics.repository_expires_in("root", 1);
    metrics.authority_behind();
    metrics.worked("record", second);
    metrics.worker_failed("record");
    metrics.pruned("changes", 1);
    metrics.alerts_told("told", 1);
    metrics.spans("exported", 1);
    metrics.svids_issued("jwt", 1);
    metrics.audit_signed(1);
    metrics.audit_chain_broken();
    metrics
}

/// Names, kinds and labels, as they are written.
type Numbers = BTreeMap<String, (String, BTreeSet<String>)>;

/// What a text in the format of OpenMetrics says of them.
fn said(text: &str) -> Numbers {
    let mut numbers = Numbers::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            last = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            last += if kind == "info" { "_info" } else { "" };
            numbers.insert(last.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let labels = labels.split('}').next().unwrap().split("\",");
            let names = labels.filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            numbers.get_mut(&last).unwrap().1.extend(names.filter(|name| name != "le"));
        }
    }
    numbers
}

/// What the page says: rows of "`name{label,label}` | kind | …".
fn told() -> Numbers {
    let mut numbers = Numbers::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `muster_") || line.starts_with("| `process_")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let name = cells[0].trim_start_matches("| ").trim_matches('`');
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        assert!(cells.len() >= 4 && cells[2].len() > 10, "a row without a meaning: {row}");
        let known = (cells[1].to_owned(), labels.map(str::to_owned).collect());
        assert!(numbers.insert(name.to_owned(), known).is_none(), "{name} stands there twice");
    }
    numbers
}

#[test]
fn every_number_is_on_the_page_with_its_kind_and_its_labels_and_no_other_is() {
    let metrics = filled();
    let said = said(&metrics.encode());
    assert_eq!(said, told());
    // What this test does not fill would be on no page, and nobody would miss it.
    let full = |it: &Registered| match it.kind.as_str() {
        "counter" => format!("{}_total", it.name),
        "info" => format!("{}_info", it.name),
        _ => it.name.clone(),
    };
    let registered: BTreeSet<String> = metrics.registered().iter().map(full).collect();
    assert_eq!(said.into_keys().collect::<BTreeSet<_>>(), registered);
}

#[test]
fn numbers_appear_under_their_names() {
    let text = filled().encode();
    for line in [
        "muster_heartbeats_total 1",
        "muster_handshakes_failed_total{door=\"agents\",reason=\"silent\"} 1",
        "muster_sessions 0",
        "muster_heartbeat_lateness_seconds_bucket{le=\"1.0\"} 1",
        "muster_audit_entries_total 1",
        "muster_store_writes_total 2",
        "muster_replica_leads 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is missing in {text}");
    }
    let line = |name: &str| text.lines().find_map(|it| it.strip_prefix(name)).map(str::to_owned);
    let number = |name: &str| line(name).and_then(|it| it.trim().parse::<f64>().ok()).unwrap_or_default();
    assert!(number("process_resident_memory_bytes ") > 1e6, "{text}");
    assert!(number("process_start_time_seconds ") > 1.6e9, "{text}");
    assert!(number("process_threads ") >= 1.0 && number("process_max_fds ") > 10.0, "{text}");
}

#[test]
fn what_alerts_watch_is_shown_before_anything_is_counted() {
    let text = Metrics::default().encode();
    for line in [
        "muster_door_limits_total{door=\"agents\",limit=\"silent\"} 0",
        "muster_door_limits_total{door=\"operators\",limit=\"reads\"} 0",
        "muster_handshakes_failed_total{door=\"fleet-console\",reason=\"WRONG_TRUST_DOMAIN\"} 0",
        "muster_commands_ended_total{kind=\"run-script\",state=\"succeeded\",reason=\"\"} 0",
        "muster_commands_ended_total{kind=\"reboot\",state=\"denied\",reason=\"LOCAL_LOCK\"} 0",
        "muster_alerts_told_total{what=\"failed\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is missing in {text}");
    }
}

#[test]
fn commands_of_a_state_that_nobody_is_in_any_more_count_zero() {
    let metrics = Metrics::default();
    let one = |state| BTreeMap::from([(("reboot".to_owned(), state), 1)]);
    metrics.commands_open(one("queued"));
    metrics.commands_open(one("running"));
    let text = metrics.encode();
    assert!(text.contains("muster_commands{kind=\"reboot\",state=\"queued\"} 0"), "{text}");
    assert!(text.contains("muster_commands{kind=\"reboot\",state=\"running\"} 1"), "{text}");
}
