//! What the host is in its fleet: the node, its certificate, its items, its commands.

use std::{io, path::Path};

use serde_json::{Value, json};

use super::{Tree, UNKNOWN, time};
use crate::{
    applier::explain,
    cli::Context,
    identity::{self, Identity},
    ledger,
    locks::Locks,
    state::ItemVersion,
};

/// What there is of a host in a fleet, and not of another: the same names all the same.
const OF_NODE: [&str; 13] = [
    "node-id",
    "display-name",
    "epoch",
    "clock-ahead-ms",
    "trust-domain",
    "trust-bundle-version",
    "control-plane",
    "enrollment",
    "certificate-serial",
    "certificate-generation",
    "certificate-issued",
    "certificate-renewed-from",
    "certificate-expires",
];

pub(super) fn put(context: &Context, identity: Option<&Identity>, all: &mut Tree) {
    let Some(identity) = identity else {
        OF_NODE.iter().for_each(|name| all.put(name, Value::Null));
        ["items", "commands"].iter().for_each(|name| all.put(name, json!({})));
        return;
    };
    let memo = context.state.memo(identity.node);
    let renewed_from = identity::renew_at(identity.not_before, identity.not_after, 0.0);
    let values = [
        json!(identity.node),
        json!(memo.display_name),
        json!(memo.epoch),
        json!(memo.clock_ahead_ms),
        json!(identity.trust_domain),
        json!(identity.trust_bundle_version),
        json!(identity.session_addresses.join(", ")),
        json!(identity.enrollment_addresses.join(", ")),
        json!(identity.serial()),
        json!(identity.certificate_generation),
        time(Some(identity.not_before)),
        time(Some(renewed_from)),
        time(Some(identity.not_after)),
    ];
    OF_NODE.iter().zip(values).for_each(|(name, value)| all.put(name, value));
    let folder = context.state.node(identity.node);
    let locks = Locks::load(&context.config.locks_file).unwrap_or_default();
    all.put("items", readable(items(&folder.join("items"), &locks)));
    all.put("commands", readable(commands(&folder.join("ledger"))));
}

/// A value, or why there is none.
fn readable(found: io::Result<Value>) -> Value {
    match found {
        Ok(value) => value,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => json!(UNKNOWN),
        Err(error) => json!(format!("cannot be read: {error}")),
    }
}

fn items(folder: &Path, locks: &Locks) -> io::Result<Value> {
    let version = |version: Option<&ItemVersion>| version.map(|version| version.version.clone());
    let item = |item: explain::Explanation| {
        let state = item.state.as_ref();
        let error = state.and_then(|state| state.error.as_ref());
        let shown = json!({
            "verdict": format!("{:?}", item.verdict),
            "running": version(state.and_then(|state| state.running.as_ref())),
            "attempted": version(state.and_then(|state| state.attempted.as_ref())),
            "outcome": state.map(|state| state.outcome),
            "changed": time(state.map(|state| state.changed_at)),
            "error": error.map(|error| format!("{}: {}", error.reason, error.message)),
            "cause": error.map(|error| error.cause),
        });
        (item.item, shown)
    };
    Ok(Value::Object(explain::explain(folder, locks)?.into_iter().map(item).collect()))
}

fn commands(folder: &Path) -> io::Result<Value> {
    let command = |open: &ledger::Entry| {
        let started = open.first.as_ref().map(|first| first.at);
        let shown = json!({ "kind": open.ticket.kind, "state": open.state(), "started": time(started) });
        (open.ticket.id.to_string(), shown)
    };
    Ok(Value::Object(ledger::look(folder)?.iter().map(command).collect()))
}
