//! Where values stand that a history is about: as operators read them, and as the audit has
//! them.

use muster_proto::admin::v1::{self as pb, assignment::Target};
use muster_tests::history::Entry;
use serde_json::Value;

/// The label that must go with a name: both are written at once.
pub(crate) const NUMBER: &str = "n";

/// The key of a node's name.
pub(crate) fn node_key(id: &str) -> String {
    format!("node/{id}")
}

/// The key of the version that an assignment gives.
pub(crate) fn assignment_key(name: &str) -> String {
    format!("assignment/{name}")
}

/// The `number`th name.
pub(crate) fn name(number: u64) -> String {
    format!("name-{number}")
}

/// A name with the label that goes with it; one without the other is a value of its own,
/// which nobody writes.
fn named(name: &str, number: Option<&str>) -> String {
    match (name.strip_prefix("name-"), number) {
        (Some(written), Some(number)) if written != number => format!("half: {name} and {number}"),
        (Some(_), None) => format!("half: {name} alone"),
        _ => name.to_owned(),
    }
}

/// Of a node that was read.
pub(crate) fn of_node(node: &pb::Node) -> String {
    named(&node.display_name, node.labels.get(NUMBER).map(String::as_str))
}

/// Of an assignment that was read.
pub(crate) fn of_assignment(assignment: &pb::Assignment) -> String {
    match &assignment.target {
        Some(Target::Bundle(bundle)) => bundle.version.to_string(),
        other => format!("{other:?}"),
    }
}

/// Of one side of an entry of the audit.
fn of_json(key: &str, json: &str) -> Option<String> {
    let json: Value = serde_json::from_str(json).ok()?;
    match key.split_once('/')?.0 {
        "node" => Some(named(json.get("display_name")?.as_str()?, json["labels"][NUMBER].as_str())),
        "assignment" => Some(json["target"].get("version")?.to_string()),
        _ => None,
    }
}

/// An entry of the audit as a history has it.
pub(crate) fn entry(entry: pb::AuditEntry) -> Entry {
    let is_write = matches!(entry.action.as_str(), "nodes.update" | "assignments.update") && !entry.denied;
    let value = |json: &str| is_write.then(|| of_json(&entry.subject, json)).flatten();
    Entry {
        place: entry.place,
        seq: entry.seq,
        before: value(&entry.before),
        value: value(&entry.after),
        replica: entry.replica,
        hash: entry.hash.to_vec(),
        previous: entry.previous_hash.to_vec(),
        key: entry.subject,
    }
}
