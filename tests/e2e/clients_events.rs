//! Events by grpcurl.

use serde_json::Value;

use super::{Grpcurl, text};

pub(super) fn all(grpc: &Grpcurl, node: &str) {
    let listed = grpc.script("events-list.sh", &[node]);
    let events = listed.pointer("/events").and_then(Value::as_array).unwrap();
    let first = events.last().unwrap();
    assert_eq!(
        (text(first, "/kind"), text(first, "/nodeId")),
        ("EVENT_KIND_NODE_ENROLLED", node),
        "{listed}"
    );
    assert_eq!(grpc.script("events-get.sh", &[text(first, "/id")]).pointer("/event"), Some(first));
    let online = grpc.script("events-list.sh", &["", "NODE_ONLINE"]);
    let is_online = |event: &Value| event["kind"] == "EVENT_KIND_NODE_ONLINE";
    let events = online.pointer("/events").and_then(Value::as_array).unwrap();
    assert!(!events.is_empty() && events.iter().all(is_online), "{online}");
    assert_eq!(grpc.refusal("events-get.sh", &["00000000-0000-0000-0000-000000000001"]), "NotFound");
    let watched = grpc.watch("events-watch.sh", &["WARNING"]);
    assert!(watched.pointer("/resumeToken").is_some(), "{watched}");
}
