//! `status`: how the agent stands, for people and for health checkers.

use std::path::{Path, PathBuf};

use muster_common::clock::{Clock, UnixMillis};
use serde_json::json;

use super::{
    Context,
    exit::{self, Code, Failure},
    output::{Output, Tone},
    runtime,
};
use crate::{
    local_api::{
        client::{Client, Error},
        status::{Health, Item, STALE, SessionState, Status},
    },
    platform::files,
};

/// Of the answer.
const SHAPE: &str = "status/1";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read the status file alone: without rights, and without waiting for anybody.
    #[arg(long)]
    file: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let status = if args.file { from_file(context)? } else { live(context)? };
    let out = context.out;
    let answer = json!(status);
    let ended = ended(&status);
    if !out.is_json() {
        tell(&status, out);
    } else if ended.is_none() {
        out.document(SHAPE, &answer);
    }
    match ended {
        None => Ok(()),
        Some((code, cause)) => Err(Failure::told(code, cause).beside(SHAPE, answer)),
    }
}

/// How the command ends, unless all is well.
fn ended(status: &Status) -> Option<(Code, String)> {
    let code = match status.health {
        Health::Healthy => return None,
        Health::NotInAFleet => exit::NOT_CONNECTED,
        Health::CutOff => exit::CUT_OFF,
        Health::Degraded => exit::DEGRADED,
        Health::Paused => exit::PAUSED,
    };
    let causes: Vec<&str> = status.problems.iter().map(|problem| problem.message.as_str()).collect();
    Some((code, causes.join("; ")))
}

/// From the agent itself; from its file where it does not answer and still lives.
pub(super) fn live(context: &Context) -> Result<Status, Failure> {
    let asked = runtime()?.block_on(async {
        let mut client = Client::connect(&context.config.sockets()).await?;
        client.status().await
    });
    match asked {
        Ok(status) => Ok(status),
        Err(Error::NoAgent(_)) if context.state.is_running() == Some(false) => {
            Err(Failure::told(exit::NOT_RUNNING, "no agent runs here".to_owned()))
        }
        Err(Error::NoAgent(_)) => from_file(context),
        Err(error) => Err(said(&error)),
    }
}

fn from_file(context: &Context) -> Result<Status, Failure> {
    let files = context.config.status_files();
    let newest = newest(&files).map(|(status, _)| status);
    let not_running = |why: String| Failure::told(exit::NOT_RUNNING, why);
    let status = newest.ok_or_else(|| {
        let places: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        not_running(format!("no agent has left a status file that can be read at {}", places.join(" or ")))
    })?;
    if Clock::System.now().since(status.updated_at) > STALE {
        let (pid, at) = (status.pid, time(status.updated_at));
        return Err(not_running(format!("the agent with process id {pid} has told nothing since {at}")));
    }
    Ok(status)
}

/// What was told last in any of these files, and in which.
pub(super) fn newest(files: &[PathBuf]) -> Option<(Status, &Path)> {
    let told = files.iter().filter_map(|path| Some((read(path)?, path.as_path())));
    told.max_by_key(|(status, _)| status.updated_at)
}

fn read(path: &Path) -> Option<Status> {
    serde_json::from_slice(&files::read_plain(path).ok()?).ok()
}

/// How a command ends to which the agent said no.
pub(super) fn said(error: &Error) -> Failure {
    let (code, reason) = match error {
        Error::NoAgent(_) => (exit::NOT_RUNNING, None),
        Error::Refused { reason, .. } => (exit::AGENT_REFUSED, *reason),
        Error::Answer | Error::Slow(_) => (exit::AGENT_REFUSED, None),
    };
    Failure::new(code, error).because(reason)
}

fn tell(it: &Status, out: Output) {
    let (tone, word) = match it.health {
        Health::Healthy => (Tone::Good, "healthy"),
        Health::NotInAFleet => (Tone::Doubtful, "in no fleet"),
        Health::CutOff => (Tone::Bad, "cut off"),
        Health::Degraded => (Tone::Bad, "degraded"),
        Health::Paused => (Tone::Doubtful, "paused"),
    };
    let row = |name: &str, value: &str| out.line(&format!("{:<14}{value}", format!("{name}:")));
    row("health", &out.paint(tone, word));
    for problem in &it.problems {
        row("problem", &format!("{}: {}", problem.code, problem.message));
    }
    row("agent", &format!("{}, process {}, since {}", it.agent_version, it.pid, time(it.started_at)));
    if let Some(node) = &it.node {
        row("node", &format!("{} {:?} of {}", node.id, node.display_name, node.trust_domain));
        row("certificate", &format!("until {}", time(node.certificate.expires_at)));
    }
    row("session", &session(it));
    let running = it.commands.iter().filter(|command| command.state == "running").count();
    let (open, reports) = (it.commands.len(), it.outbox_depth);
    row("commands", &format!("{open} open, {running} running, {reports} reports not acknowledged"));
    for item in &it.items {
        row("item", &one(item));
    }
    if let Some(pause) = &it.pause {
        let until = pause.until.map_or_else(|| "`resume`".to_owned(), time);
        let (since, uid) = (time(pause.since), pause.uid);
        row("pause", &format!("since {since} by uid {uid}, until {until}: {}", pause.reason));
    }
    if it.log.overridden {
        let until = it.log.until.map_or_else(|| "the agent ends".to_owned(), time);
        row("log level", &format!("{} until {until}", it.log.level));
    }
}

fn session(it: &Status) -> String {
    let session = &it.session;
    let since = time(session.since);
    let contact = session.last_contact.map(|at| format!("; last contact {}", time(at))).unwrap_or_default();
    match session.state {
        SessionState::None => "none".to_owned(),
        SessionState::Connecting => format!("being opened{contact}"),
        SessionState::Connected => format!("open since {since}"),
        SessionState::Waiting => {
            let next = session.next_try.map(|at| format!("; next try {}", time(at))).unwrap_or_default();
            format!("none since {since}: {}{next}{contact}", session.error)
        }
    }
}

fn one(item: &Item) -> String {
    let running = if item.running.is_empty() { "nothing" } else { &item.running };
    let failed = item.reason.map(|reason| format!("; version {} failed: {reason}", item.attempted));
    let drifted = if item.drifted { "; changed on the host" } else { "" };
    format!("{} runs {running}{}{drifted}", item.item, failed.unwrap_or_default())
}

pub(super) fn time(at: UnixMillis) -> String {
    humantime::format_rfc3339_seconds(at.to_system_time()).to_string()
}
