//! `explain`.

use std::io;

use muster_common::clock::{Clock, UnixMillis};
use serde::Serialize;
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    output::Output,
};
use crate::{
    applier::explain::{self, Explanation},
    identity::{self, Store},
    locks,
    state_dir::{CONNECTED, Status},
};

/// How the names of extensions begin.
const EXTENSION: &str = "extension/";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The item: `settings`, `bundle/NAME`, or `extension/PUBLISHER/TYPE` for what the lock
    /// file says of it. All that this host has heard of by default.
    item: Option<String>,
}

/// How the host stands towards its control plane.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Connection {
    /// `Connected`, `CutOff`, `NotRunning`.
    verdict: &'static str,
    /// Of the session, or of its absence.
    since: Option<UnixMillis>,
    last_contact: Option<UnixMillis>,
    next_try: Option<UnixMillis>,
    error: String,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let unusable = |error| context.unusable(&error);
    let out = context.out;
    let identity = Store::new(context.state.path()).load()?.ok_or(identity::Error::None)?;
    let rules = locks::Locks::load(&context.config.locks_file);
    let locks_error = rules.as_ref().err().map(|error| muster_common::error_chain::Chain(error).to_string());
    let folder = context.state.node(identity.node).join("items");
    let locked = rules.as_ref().map_or_else(|_| locks::Locks::everything(), Clone::clone);
    let items = explain::explain(&folder, &rules.unwrap_or_default()).map_err(unusable)?;
    let items = match &args.item {
        None => items,
        Some(item) if item.starts_with(EXTENSION) => vec![extension(item, &locked)?],
        Some(item) => vec![only(items, item)?],
    };
    let running =
        context.state.is_running().ok_or_else(|| unusable(io::ErrorKind::PermissionDenied.into()))?;
    let connection = connection(running, context.state.status_now(), context.state.status());
    let pause = context.state.pause().filter(|pause| !pause.is_over(Clock::System.now()));
    if out.is_json() {
        let whole = json!({
            "connection": connection, "locks-error": locks_error, "pause": pause, "items": items
        });
        out.document("explain/1", &whole);
        return Ok(());
    }
    out.line(&tell_connection(&connection));
    if let Some(error) = locks_error {
        out.line(&format!("everything is locked: {error}"));
    }
    if let Some(pause) = pause {
        out.line(&format!("changes rest since {}: {}", time(pause.since), pause.reason));
    }
    for item in &items {
        tell(item, out);
    }
    Ok(())
}

fn only(items: Vec<Explanation>, item: &str) -> Result<Explanation, Failure> {
    let unknown = || Failure::told(exit::ITEM, format!("this host has never heard of {item:?}"));
    items.into_iter().find(|found| found.item == item).ok_or_else(unknown)
}

/// What the lock file says of an extension. No other word on extensions is known here.
fn extension(item: &str, locks: &locks::Locks) -> Result<Explanation, Failure> {
    let name = item.strip_prefix(EXTENSION).and_then(locks::Name::parse);
    let name =
        name.ok_or_else(|| Failure::told(exit::ITEM, format!("{item:?} is not extension/PUBLISHER/TYPE")))?;
    let none = || format!("this host has no {item:?}; its lock file would allow it");
    explain::extension(&name, item, locks).ok_or_else(|| Failure::told(exit::ITEM, none()))
}

/// `now`: of the agent that runs. `last`: of the last one that said anything.
fn connection(running: bool, now: Option<Status>, last: Option<Status>) -> Connection {
    let is_now = now.is_some();
    let status = now.or(last).unwrap_or_default();
    let is_open = is_now && status.session == CONNECTED;
    let verdict = match (running, is_open) {
        (_, true) => "Connected",
        (true, false) => "CutOff",
        (false, _) => "NotRunning",
    };
    let open_since = is_open.then_some(UnixMillis(status.since));
    Connection {
        verdict,
        // Of an agent that died with an open session this is as much as is known.
        since: open_since.or(status.cut_off_since).or(status.last_contact),
        last_contact: status.last_contact,
        next_try: status.next_try.filter(|_| is_now && !is_open),
        error: if is_now { status.error } else { String::new() },
    }
}

fn tell_connection(it: &Connection) -> String {
    let since = it.since.map_or_else(|| "it was enrolled".to_owned(), time);
    match it.verdict {
        "Connected" => format!("connection: Connected since {since}"),
        "NotRunning" => format!("connection: NotRunning: no agent runs here; last contact: {since}"),
        _ => {
            let next = it.next_try.map(|at| format!("; next try at {}", time(at))).unwrap_or_default();
            format!("connection: CutOff since {since}: {}{next}", it.error)
        }
    }
}

fn tell(item: &Explanation, out: Output) {
    out.line(&format!("{}: {:?}", item.item, item.verdict));
    for reason in &item.reasons {
        let sign = if reason.holds { '+' } else { '-' };
        out.line(&format!("  {sign} {}: {}", reason.about, reason.text));
    }
    let error = item.state.as_ref().and_then(|state| state.error.as_ref());
    if let Some(error) = error {
        out.line(&format!("    cause: {:?}, since {}", error.cause, time_of(item)));
        for line in item.output.lines() {
            out.line(&format!("    | {line}"));
        }
    }
}

fn time_of(item: &Explanation) -> String {
    item.state.as_ref().map_or_else(String::new, |state| time(state.changed_at))
}

fn time(at: UnixMillis) -> String {
    humantime::format_rfc3339_seconds(at.to_system_time()).to_string()
}
