//! `show`.

use std::{collections::BTreeMap, io};

use muster_common::{clock::UnixMillis, error_chain::Chain, settings::SCHEMA};
use serde_json::{Value, json};

use super::{
    Context,
    exit::{self, Failure},
};
use crate::{
    identity::{self, Store},
    locks::{self, Locks},
    platform::host,
    state::EffectiveSetting,
    wiring::Layers,
};

/// What this user may not know.
const UNKNOWN: &str = "unknown to this user";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Properties to show; all by default. One alone is printed without its name.
    properties: Vec<String>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let all = properties(context)?;
    if let Some(unknown) = args.properties.iter().find(|name| !all.contains_key(*name)) {
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        return Err(Failure::told(
            exit::PROPERTY,
            format!("there is no property {unknown:?}, only {}", known.join(", ")),
        ));
    }
    let wanted = |name: &String| args.properties.is_empty() || args.properties.contains(name);
    let shown: BTreeMap<&String, &Value> = all.iter().filter(|(name, _)| wanted(name)).collect();
    if args.json {
        println!("{}", json!(shown));
        return Ok(());
    }
    for (name, value) in shown {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if args.properties.len() == 1 { println!("{value}") } else { println!("{name:<28} {value}") }
    }
    Ok(())
}

fn properties(context: &Context) -> Result<BTreeMap<String, Value>, Failure> {
    let mut all = BTreeMap::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    let running = context.state.is_running();
    let status = context.state.status().filter(|_| running == Some(true));
    let session = match (running, &status) {
        (Some(true), Some(status)) => status.session.as_str(),
        (Some(false), _) => "not running",
        (Some(true), None) | (None, _) => UNKNOWN,
    };
    put("agent-version", json!(muster_common::build_info::VERSION));
    put("agent-running", running.map_or(json!(UNKNOWN), |running| json!(running)));
    put("session", json!(session));
    put("session-error", json!(status.as_ref().map_or("", |status| status.error.as_str())));
    put("hostname", json!(host::hostname()));
    put("state-dir", json!(context.state.path()));
    put("locks-file", json!(context.config.locks_file));
    let identity = match Store::new(context.state.path()).load() {
        // The identity is for its user alone; the rest can be shown to all.
        Err(identity::Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            put("connected", json!(UNKNOWN));
            None
        }
        identity => {
            let identity = identity?;
            put("connected", json!(identity.is_some()));
            identity
        }
    };
    let mut desired = BTreeMap::new();
    if let Some(identity) = identity {
        let memo = context.state.memo(identity.node);
        put("node-id", json!(identity.node));
        put("display-name", json!(memo.display_name));
        put("trust-domain", json!(identity.trust_domain));
        put("control-plane", json!(identity.session_addresses.join(", ")));
        put("certificate-generation", json!(identity.certificate_generation));
        put("certificate-issued", json!(time(identity.not_before)));
        put(
            "certificate-renewed-from",
            json!(time(identity::renew_at(identity.not_before, identity.not_after, 0.0))),
        );
        put("certificate-expires", json!(time(identity.not_after)));
        desired = applied_settings(&context.state.node(identity.node));
    }
    all.extend(settings(context, &desired));
    Ok(all)
}

/// The options in force, and whether the lock file can be used.
fn settings(context: &Context, desired: &BTreeMap<String, String>) -> Vec<(String, Value)> {
    let (locks, error) = match Locks::load(&context.config.locks_file) {
        Ok(locks) => (Some(locks), String::new()),
        // This user may not read what the agent may.
        Err(locks::Error::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            (None, UNKNOWN.to_owned())
        }
        Err(error) => (Some(Locks::everything()), Chain(&error).to_string()),
    };
    let named = |key: &str, value: Value| (format!("settings.{key}"), value);
    let mut shown = vec![("locks-error".to_owned(), json!(error))];
    match locks {
        Some(locks) => {
            let layers =
                Layers { control_plane: desired, configuration: &context.config.settings, locks: &locks };
            let told = |it: EffectiveSetting| named(&it.key, json!(format!("{} ({})", it.value, it.origin)));
            shown.extend(layers.in_force().into_iter().map(told));
        }
        None => shown.extend(SCHEMA.iter().map(|setting| named(setting.key, json!(UNKNOWN)))),
    }
    shown
}

/// Options that the control plane gave, as the applier wrote them down.
fn applied_settings(node: &std::path::Path) -> BTreeMap<String, String> {
    crate::applier::settings_on_disk(&node.join("items"))
}

fn time(at: UnixMillis) -> String {
    humantime::format_rfc3339_seconds(at.to_system_time()).to_string()
}
