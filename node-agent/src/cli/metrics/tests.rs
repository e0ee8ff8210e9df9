//! The numbers and the page about them say the same.

use std::{collections::BTreeSet, time::Duration};

use super::*;

const PAGE: &str = include_str!("../../../../docs/local-api.md");

/// A status with some of everything.
fn status() -> Status {
    serde_json::from_value(json!({
        "schema-version": 1, "updated-at": 1_700_000_000_500_i64, "health": "degraded", "problems": [],
        "agent-version": "0.1.0 \"x\"", "pid": 7, "started-at": 1_700_000_000_000_i64,
        "node": {
            "id": muster_common::ids::NodeId::from_u128(1), "display-name": "host", "trust-domain": "fleet.test",
            "epoch": 1, "control-plane": [],
            "certificate": { "generation": 1, "issued-at": 0, "renewed-from": 0, "expires-at": 5000 },
        },
        "session": {
            "state": "connected", "since": 0, "next-try": null, "last-contact": 2000, "cut-off-since": null,
        },
        "items": [
            { "item": "bundle/a", "running": "1", "attempted": "1", "outcome": "applied", "reason": null,
              "changed-at": 0, "drifted": true },
            { "item": "bundle/b", "running": "1", "attempted": "2", "outcome": "rolled-back", "reason": null,
              "changed-at": 0, "drifted": false },
        ],
        "commands": [{ "id": "c", "kind": "run-script", "state": "running", "unacknowledged": 1 }],
        "outbox-depth": 3, "locks": { "path": "/etc/muster/locks.toml", "error": "" }, "pause": null,
        "log": { "level": "info", "until": null, "overridden": false },
        "conditions": [
            { "kind": "ClockOk", "holds": false, "reason": "", "message": "", "since": 0 },
            { "kind": "Unsure", "holds": null, "reason": "", "message": "", "since": 0 },
        ],
        "settings": [],
    }))
    .unwrap()
}

fn told() -> String {
    let usage = Usage { cpu: Duration::from_millis(1500), resident_bytes: 4096, threads: 2 };
    text(Some(&status()), Some(usage))
}

#[test]
fn every_number_says_what_the_status_says() {
    let told = told();
    for line in [
        "muster_agent_up 1",
        "muster_agent_info{version=\"0.1.0 \\\"x\\\"\"} 1",
        "muster_agent_health{health=\"degraded\"} 1",
        "muster_agent_health{health=\"healthy\"} 0",
        "muster_agent_connected 1",
        "muster_agent_contact_timestamp_seconds 2",
        "muster_agent_told_timestamp_seconds 1700000000.5",
        "muster_agent_certificate_expires_timestamp_seconds 5",
        "muster_agent_items{outcome=\"applied\"} 1",
        "muster_agent_items{outcome=\"rolled-back\"} 1",
        "muster_agent_items_drifted 1",
        "muster_agent_commands{state=\"running\"} 1",
        "muster_agent_outbox_reports 3",
        "muster_agent_condition{kind=\"ClockOk\"} 0",
        "muster_agent_cpu_seconds_total 1.5",
        "muster_agent_resident_memory_bytes 4096",
    ] {
        assert!(told.lines().any(|it| it == line), "{line} is missing in {told}");
    }
    assert!(!told.contains("Unsure"), "what is not known is not told: {told}");
    let nobody = text(None, None);
    assert!(nobody.contains("\nmuster_agent_up 0\n") && nobody.ends_with("# EOF\n"), "{nobody}");
    assert_eq!(nobody.matches("# TYPE").count(), 1);
}

#[test]
fn the_page_names_each_of_them_and_no_other() {
    let told = told();
    let kinds = told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let said: BTreeSet<String> = kinds
        .map(|(name, kind)| format!("{name}{}", if kind == "counter" { "_total" } else { "" }))
        .collect();
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `muster_agent_"));
    let name = |row: &str| format!("muster_agent_{}", row.split(['{', '`']).next().unwrap());
    assert_eq!(said, rows.map(name).collect());
}
