//! Alerts by grpcurl: rules, silences, receivers, and what is told of them.

use std::path::Path;

use serde_json::Value;

use super::{Grpcurl, text};

pub(super) fn all(grpc: &Grpcurl, folder: &Path) {
    rules(grpc);
    receivers(grpc, folder);
    alerts(grpc);
    let dead = grpc.script("dead-letters-list.sh", &[]);
    assert!(dead.pointer("/deadLetters").is_none(), "{dead}");
    assert_eq!(grpc.refusal("dead-letters-retry.sh", &["00000000-0000-0000-0000-000000000001"]), "NotFound");
    assert_eq!(grpc.refusal("alert-receivers-delete.sh", &["hook"]), "FailedPrecondition", "a rule names it");
    grpc.script("alert-rules-delete.sh", &["web-late"]);
    assert_eq!(grpc.refusal("alert-rules-get.sh", &["web-late"]), "NotFound");
    grpc.script("alert-receivers-delete.sh", &["hook"]);
    assert!(grpc.script("alert-receivers-list.sh", &[]).pointer("/receivers").is_none());
}

fn rules(grpc: &Grpcurl) {
    let listed = grpc.script("alert-rules-list.sh", &[]);
    let built_in = listed.pointer("/rules").and_then(Value::as_array).unwrap();
    assert!(built_in.iter().all(|rule| rule["builtIn"] == true) && built_in.len() >= 10, "{listed}");
    let off = ["drift", "DRIFT", "*", "600", "WARNING", "disabled"];
    assert_eq!(grpc.script("alert-rules-update.sh", &off).pointer("/rule/disabled"), Some(&true.into()));
    grpc.script("alert-rules-delete.sh", &["drift"]);
    let got = grpc.script("alert-rules-get.sh", &["drift"]);
    assert!(got.pointer("/rule/disabled").is_none(), "it is as it came: {got}");
    let unknown = ["x", "DRIFT", "@nowhere", "0", "INFO"];
    assert_eq!(grpc.refusal("alert-rules-create.sh", &unknown), "InvalidArgument");
}

fn receivers(grpc: &Grpcurl, folder: &Path) {
    let secret = folder.join("hook.secret");
    std::fs::write(&secret, "a secret of ours").unwrap();
    let hook = ["hook", "webhook", "https://hooks.invalid/muster", secret.to_str().unwrap()];
    let made = grpc.script("alert-receivers-create.sh", &hook);
    assert_eq!(made.pointer("/receiver/hasSecret"), Some(&true.into()));
    assert!(!made.to_string().contains("a secret of ours"));
    assert_eq!(grpc.script("alert-receivers-create.sh", &hook), made, "once more");
    let plain = ["plain", "alertmanager", "http://alerts.example:9093"];
    assert_eq!(grpc.refusal("alert-receivers-create.sh", &plain), "InvalidArgument");
    let paused = ["hook", "webhook", "https://hooks.invalid/muster", "paused"];
    let updated = grpc.script("alert-receivers-update.sh", &paused);
    assert_eq!(updated.pointer("/receiver/hasSecret"), Some(&true.into()), "it keeps it");
    assert_eq!(text(&grpc.script("alert-receivers-list.sh", &[]), "/receivers/0/name"), "hook");
}

fn alerts(grpc: &Grpcurl) {
    grpc.script("alert-rules-create.sh", &["web-late", "NODE_LATE", "role=web", "60", "INFO", "hook"]);
    let fired = grpc.script("alerts-test.sh", &["web-late"]);
    let id = text(&fired, "/alert/id");
    assert_eq!(fired.pointer("/alert/test"), Some(&true.into()));
    assert_eq!(text(&grpc.script("alerts-get.sh", &[id]), "/alert/rule"), "web-late");
    let acknowledged = grpc.script("alerts-acknowledge.sh", &[id, "seen"]);
    assert_eq!(text(&acknowledged, "/alert/acknowledgedBy"), "operator/admin");
    let listed = grpc.script("alerts-list.sh", &["all"]);
    let is_ours = |alert: &Value| alert["id"] == id;
    assert!(listed.pointer("/alerts").and_then(Value::as_array).unwrap().iter().any(is_ours), "{listed}");
    assert_eq!(text(&grpc.watch("alerts-watch.sh", &[]), "/alert/id"), id);
    let silence = ["3600", "works", "web-late", "role=web"];
    let made = grpc.script("alerts-silence.sh", &silence);
    assert_eq!(made.pointer("/silence/active"), Some(&true.into()));
    assert_eq!(text(&grpc.script("silences-list.sh", &[]), "/silences/0/comment"), "works");
    let ended = grpc.script("silences-expire.sh", &[text(&made, "/silence/id")]);
    assert!(ended.pointer("/silence/active").is_none(), "{ended}");
    assert_eq!(grpc.refusal("alerts-silence.sh", &["0", "late"]), "InvalidArgument");
}
