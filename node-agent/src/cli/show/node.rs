//! What the host is in its fleet: the node, its certificate, its items, its commands.

use std::{io, path::Path};

use serde_json::{Map, Value, json};

use super::{Tree, UNKNOWN, time};
use crate::{
    applier::explain,
    cli::Context,
    identity::{self, Identity},
    ledger,
    locks::Locks,
    state::ItemVersion,
};

pub(super) fn put(context: &Context, identity: &Identity, all: &mut Tree) {
    let folder = context.state.node(identity.node);
    let memo = context.state.memo(identity.node);
    all.put("node-id", json!(identity.node));
    all.put("display-name", json!(memo.display_name));
    all.put("epoch", json!(memo.epoch));
    all.put("clock-ahead-ms", json!(memo.clock_ahead_ms));
    all.put("trust-domain", json!(identity.trust_domain));
    all.put("trust-bundle-version", json!(identity.trust_bundle_version));
    all.put("control-plane", json!(identity.session_addresses.join(", ")));
    all.put("enrollment", json!(identity.enrollment_addresses.join(", ")));
    all.put("certificate-serial", json!(identity.serial()));
    all.put("certificate-generation", json!(identity.certificate_generation));
    all.put("certificate-issued", time(Some(identity.not_before)));
    let renewed_from = identity::renew_at(identity.not_before, identity.not_after, 0.0);
    all.put("certificate-renewed-from", time(Some(renewed_from)));
    all.put("certificate-expires", time(Some(identity.not_after)));
    let locks = Locks::load(&context.config.locks_file).unwrap_or_default();
    all.put("items", readable(items(&folder.join("items"), &locks)));
    let commands = commands(&folder.join("ledger"));
    all.put("commands-open", readable(commands.as_ref().map(|open| json!(open.len())).map_err(copy)));
    all.put("commands", readable(commands.map(Value::Object)));
}

fn copy(error: &io::Error) -> io::Error {
    error.kind().into()
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

fn commands(folder: &Path) -> io::Result<Map<String, Value>> {
    let command = |open: &ledger::Entry| {
        let started = open.first.as_ref().map(|first| first.at);
        let shown = json!({ "kind": open.ticket.kind, "state": open.state(), "started": time(started) });
        (open.ticket.id.to_string(), shown)
    };
    Ok(ledger::look(folder)?.iter().map(command).collect())
}
