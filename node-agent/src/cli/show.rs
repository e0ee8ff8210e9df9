//! `show`. Needs no privilege; what a user may not read is said to be unknown to it.

mod node;
mod options;
mod services;
mod tree;

use muster_common::{build_info, clock::UnixMillis, error_chain::Chain};
use serde_json::{Value, json};

use super::{
    Context,
    exit::{self, Failure},
    output::Tone,
    runtime,
};
use crate::{
    identity::{Error, Identity, Store},
    platform::{hardware::Hardware, host},
    state_dir::{CONNECTED, Status},
};
use tree::Tree;

/// What this user may not know.
pub(super) const UNKNOWN: &str = "unknown to this user";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Properties or groups of them, such as `session` or `host`; all by default. One
    /// property alone is printed without its name.
    #[arg(value_name = "PROPERTY")]
    properties: Vec<String>,
}

/// `fault`: why the options of the configuration file cannot be used. An agent that runs
/// has those of before.
pub(super) fn run(args: &Args, context: &Context, fault: Option<&str>) -> Result<(), Failure> {
    let all = properties(context, fault)?;
    let shown = match &args.properties[..] {
        [] => all,
        some => chosen(all, some)?,
    };
    let out = context.out;
    if out.is_json() {
        out.document("show/1", &shown.json());
        return Ok(());
    }
    let lines = shown.lines();
    if let ([wanted], [(name, value)]) = (&args.properties[..], &lines[..])
        && wanted == name
    {
        out.line(value);
        return Ok(());
    }
    for (name, value) in lines {
        let padded = format!("{name:<28}");
        out.line(format!("{} {value}", out.paint(Tone::Strong, &padded)).trim_end());
    }
    Ok(())
}

fn chosen(all: Tree, wanted: &[String]) -> Result<Tree, Failure> {
    let names: Vec<String> = all.lines().into_iter().map(|(name, _)| name).collect();
    let in_group =
        |name: &str, group: &str| name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
    for one in wanted {
        if !names.iter().any(|name| name == one || in_group(name, one)) {
            return Err(Failure::told(
                exit::PROPERTY,
                format!("there is no property {one:?}, only {}", names.join(", ")),
            ));
        }
    }
    Ok(all.only(|name| wanted.iter().any(|one| name == one || in_group(name, one))))
}

/// All that is known of this host and its agent.
pub(super) fn properties(context: &Context, fault: Option<&str>) -> Result<Tree, Failure> {
    let mut all = Tree::default();
    agent(context, &mut all);
    let status = session(context, &mut all);
    let identity = identity(context, &mut all)?;
    options::put(context, identity.as_ref(), &mut all);
    all.put("proxy", json!(context.ways()));
    node::put(context, identity.as_ref(), &mut all);
    all.put("last-contact", time(status.and_then(|status| status.last_contact)));
    all.put("host", facts());
    all.put("services", runtime()?.block_on(services::all()));
    all.put("configuration-error", json!(fault.unwrap_or_default()));
    if fault.is_some() {
        options::lose(context, &mut all);
    }
    Ok(all)
}

fn agent(context: &Context, all: &mut Tree) {
    all.put("agent-version", json!(build_info::version()));
    all.put("configuration-file", json!(context.config.path));
    all.put("state-dir", json!(context.state.path()));
    all.put("locks-file", json!(context.config.locks_file));
    all.put("log", json!(services::log()));
    all.put("hostname", json!(host::hostname()));
}

/// How the agent stands. Answers what is known of it, whether it runs or not.
fn session(context: &Context, all: &mut Tree) -> Option<Status> {
    let running = context.state.is_running();
    let known = context.state.status();
    let status = context.state.status_now();
    let session = match (running, &status) {
        (Some(true), Some(status)) => status.session.as_str(),
        (Some(false), _) => "not running",
        // It has not said anything yet.
        (Some(true), None) => "starting",
        (None, _) => UNKNOWN,
    };
    all.put("agent-running", running.map_or(json!(UNKNOWN), |running| json!(running)));
    all.put("agent-pid", json!(status.as_ref().map(|status| status.pid)));
    all.put("session", json!(session));
    all.put("session-since", time(status.as_ref().map(|status| UnixMillis(status.since))));
    let error = status.as_ref().map_or("", |status| status.error.as_str());
    all.put("session-error", json!(error));
    all.put("session-remedy", json!(remedy(running, session, error)));
    all.put("session-next-try", time(status.and_then(|status| status.next_try)));
    known
}

fn remedy(running: Option<bool>, session: &str, error: &str) -> &'static str {
    match (running, session) {
        (Some(false), _) => {
            "start the agent: `systemctl start muster-node-agent`, or `muster-node-agent run`"
        }
        (_, CONNECTED) => "",
        (_, "not connected") => "bring the host into a fleet with `connect`",
        _ if error.is_empty() => "",
        _ => "`check` looks at each step of the way to the control plane",
    }
}

fn identity(context: &Context, all: &mut Tree) -> Result<Option<Identity>, Failure> {
    match Store::new(context.state.path()).load() {
        // The identity is for its user alone; the rest can be shown to all.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            all.put("connected", json!(UNKNOWN));
            Ok(None)
        }
        // The rest of what there is helps whoever has to mend it.
        Err(error @ Error::Damaged { .. }) => {
            all.put("connected", json!("unknown: the identity is damaged"));
            all.put("identity-error", json!(Chain(&error).to_string()));
            Ok(None)
        }
        identity => {
            let identity = identity?;
            all.put("connected", json!(identity.is_some()));
            Ok(identity)
        }
    }
}

/// What this host is.
fn facts() -> Value {
    let facts = host::facts();
    let hardware = Hardware::read();
    let disk = |disk: &crate::state::Disk| {
        (disk.mount_point.clone(), json!({ "file-system": disk.file_system, "size-bytes": disk.size_bytes }))
    };
    let addresses: Vec<String> =
        facts.addresses.iter().map(|at| format!("{} ({})", at.address, at.interface)).collect();
    json!({
        "os": facts.os, "os-version": facts.os_version, "kernel": facts.kernel,
        "architecture": facts.architecture, "cpu-model": facts.cpu_model, "cpu-count": facts.cpu_count,
        "memory-bytes": facts.memory_bytes, "addresses": addresses,
        "disks": facts.disks.iter().map(disk).collect::<serde_json::Map<_, _>>(),
        "machine-id": facts.machine_id, "boot-id": facts.boot_id, "timezone": facts.timezone,
        "manufacturer": hardware.manufacturer, "model": hardware.model,
        "cloud-provider": hardware.cloud_provider,
    })
}

/// Null: never, or nobody knows.
fn time(at: Option<UnixMillis>) -> Value {
    json!(at.map(|at| humantime::format_rfc3339_seconds(at.to_system_time()).to_string()))
}
