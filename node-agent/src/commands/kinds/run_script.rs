//! Runs a script: as a unit of systemd where the agent is root there, else in a process
//! group of its own. Its output is kept as it comes.

mod script;
mod unit;

use std::{
    collections::BTreeMap,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitStatus,
    time::Duration,
};

use muster_common::{crash, reason::Reason, tasks, trace};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::{timeout, timeout_at},
};

use super::{Halt, Options, Stop};
use crate::{
    commands::{output::PIECE, voice::Voice},
    platform::{accounts, files, process, runs::Order, units::Limits},
    state::{CommandState, Report, Ticket, place_of_run},
    verbs::Runs,
};

pub(in crate::commands) use script::Script;
pub(in crate::commands) use unit::{clear, clear_here, end_unknown, follow, goes_on, limit};

/// Between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(5);
/// For the last output, once the script itself has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Pieces of output wait no longer to grow.
const PIECE_WAITS: Duration = Duration::from_millis(200);
/// A line that is not over is held back no longer than this.
const LINE_WAITS: Duration = Duration::from_secs(1);

/// All other orders wait for what the executor thinks of one, but no longer than this.
const JUDGED: Duration = Duration::from_secs(10);

/// The script's file, gone when its run is over.
struct ScriptFile(PathBuf);

impl Drop for ScriptFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the host's lock file has against a script: by the executor's reading, where there
/// is one.
pub(super) async fn locked(script: &Script, ticket: &Ticket, options: &Options) -> Option<String> {
    let order = order(script, ticket, 0, None);
    match &options.runs {
        Some(runs @ Runs::Executor(_)) => {
            let judged = timeout(JUDGED, runs.judge(&order)).await;
            judged.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).unwrap_or_else(|error| {
                // It is asked again for the start, and that fails then.
                tracing::warn!(command = %ticket.id, %error, "nobody could judge command {}", ticket.id);
                None
            })
        }
        _ => {
            let locks = options.locks.current();
            tasks::blocking(move || locks.refuses_run(&order)).await
        }
    }
}

fn order(script: &Script, ticket: &Ticket, output: u64, time: Option<Duration>) -> Order {
    let limits = &script.limits;
    let limits = Limits {
        memory: (limits.memory_bytes > 0).then_some(limits.memory_bytes),
        tasks: (limits.tasks > 0).then_some(limits.tasks),
        cpu: (limits.cpu_percent > 0).then_some(limits.cpu_percent),
        time,
    };
    Order {
        id: ticket.id,
        text: Some(script.text.clone()),
        program: script.interpreter.clone(),
        arguments: script.arguments.clone(),
        environment: environment(script, ticket),
        folder: script.folder.clone(),
        user: script.user.clone(),
        limits,
        output,
        survives: script.survives,
    }
}

/// With where it is in the trace of its order, if somebody collects that and it is told no other.
fn environment(script: &Script, ticket: &Ticket) -> BTreeMap<String, String> {
    let mut environment = script.environment.clone();
    if let Some(place) = place_of_run(&ticket.traceparent) {
        environment.entry(trace::VARIABLE.to_owned()).or_insert_with(|| place.to_string());
    }
    environment
}

pub(super) async fn run(
    script: Script,
    ticket: &Ticket,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Halt>,
) -> Report {
    if let Some(runs) = &options.runs {
        return unit::run(&script, runs, &unit::Around { ticket, options, voice }, stop).await;
    }
    let order = order(&script, ticket, 0, None);
    let user = match tasks::blocking(move || order.account()).await {
        Ok(Some(account)) => (account.uid != accounts::me().0).then_some(account),
        Ok(None) if script.user.is_empty() => None,
        Ok(None) => return user_unknown(voice, &script),
        Err(error) => return not_started(voice, &script, &error),
    };
    if user.is_some() || script.wants_unit() || options.locks.current().caps().any() {
        let message = "a user, limits, also those of the lock file, and survive_restart need an agent that is root on a host with systemd";
        return voice.report(CommandState::Failed).because(Reason::UnavailableOnHost, message);
    }
    run_in_group(script, ticket, options, voice, stop).await
}

fn user_unknown(voice: &Voice, script: &Script) -> Report {
    let message = format!("this host has no user {:?}", script.user);
    voice.report(CommandState::Failed).because(Reason::UserUnknown, message)
}

async fn run_in_group(
    script: Script,
    ticket: &Ticket,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Halt>,
) -> Report {
    let path = place(&options.scripts, ticket);
    let (scripts, to, text) = (options.scripts.clone(), path.clone(), script.text.clone());
    let write = move || {
        files::private_folder(&scripts)?;
        files::write_atomically(&to, text.as_bytes(), 0o700)
    };
    let written = tasks::blocking(write).await;
    let file = ScriptFile(path);
    let mut group = match written.and_then(|()| start(&script, ticket, &file)) {
        Ok(group) => group,
        Err(error) => return not_started(voice, &script, &error),
    };
    crash::point("agent.command.held");
    // Not a line of it runs before a later agent could find it and end it.
    let released = match voice.spawned(group.mark()).await {
        Ok(()) => group.release().await,
        Err(error) => Err(error),
    };
    if let Err(error) = released {
        return not_started(voice, &script, &error);
    }
    crash::point("agent.command.spawned");
    let ended = attend(&mut group, voice, stop).await;
    crash::point("agent.command.ended");
    match ended {
        Ok((_, Some(stopped))) => stopped.report(voice),
        Ok((status, None)) => told(status.code(), status.signal(), voice),
        Err(error) => voice
            .report(CommandState::Interrupted)
            .because(Reason::AgentStopped, format!("the kernel did not tell how it ended: {error}")),
    }
}

/// What is kept of a command while it runs.
fn place(scripts: &Path, ticket: &Ticket) -> PathBuf {
    scripts.join(ticket.id.to_string())
}

fn start(script: &Script, ticket: &Ticket, file: &ScriptFile) -> io::Result<process::Group> {
    let mut command = process::gated(&script.interpreter[0], &BTreeMap::new())?;
    command.args(&script.interpreter[1..]).arg(&file.0).args(&script.arguments);
    command.envs(environment(script, ticket)).env("MUSTER_COMMAND_ID", ticket.id.to_string());
    command.current_dir(&script.folder);
    process::Group::spawn(command)
}

fn not_started(voice: &Voice, script: &Script, error: &io::Error) -> Report {
    let message = format!("{} could not be started: {error}", script.interpreter[0]);
    voice.report(CommandState::Failed).because(Reason::StartFailed, message)
}

fn told(code: Option<i32>, signal: Option<i32>, voice: &Voice) -> Report {
    let state = if code == Some(0) { CommandState::Succeeded } else { CommandState::Failed };
    let report = Report { exit_code: code, signal, ..voice.report(state) };
    match (code, signal) {
        (Some(0), _) => report,
        (Some(code), _) => report.because(Reason::ExitStatus, format!("it ended with exit status {code}")),
        (None, signal) => report
            .because(Reason::ExitStatus, format!("it was ended by signal {}", signal.unwrap_or_default())),
    }
}

/// Listens to the script until it has ended, by itself or because it was stopped.
async fn attend(
    group: &mut process::Group,
    voice: &Voice,
    stop: impl Future<Output = Halt>,
) -> io::Result<(ExitStatus, Option<Stop>)> {
    let (stdout, stderr) = group.outputs();
    let mut listening = pin!(async {
        tokio::join!(listen(stdout, false, voice), listen(stderr, true, voice));
    });
    let mut ending = pin!(async {
        tokio::select! {
            status = group.wait() => status.map(|status| (status, None)),
            halt = stop => end(group, &halt).await.map(|status| (status, Some(halt.why))),
        }
    });
    tokio::select! {
        ended = &mut ending => {
            // A process that left the group may hold the pipe for ever.
            let _ = timeout(LAST_WORDS, listening).await;
            ended
        }
        () = &mut listening => ending.await,
    }
}

/// Ends the script: it has some time to tidy up, unless somebody is in a hurry.
async fn end(group: &mut process::Group, halt: &Halt) -> io::Result<ExitStatus> {
    if !halt.force.is_cancelled() {
        tokio::select! {
            ended = group.end(GRACE) => return ended,
            () = halt.force.cancelled() => {}
        }
    }
    group.end(Duration::ZERO).await
}

/// Passes on what a pipe brings, in pieces that are neither tiny nor late.
async fn listen(pipe: Option<impl AsyncRead + Unpin>, stderr: bool, voice: &Voice) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = Vec::new();
    loop {
        piece.clear();
        piece.reserve(PIECE);
        let mut open = match timeout(LINE_WAITS, pipe.read_buf(&mut piece)).await {
            Ok(read) => matches!(read, Ok(read) if read > 0),
            Err(_) => {
                voice.pause(stderr).await;
                matches!(pipe.read_buf(&mut piece).await, Ok(read) if read > 0)
            }
        };
        let until = voice.monotonic() + PIECE_WAITS;
        while open && piece.len() < PIECE {
            match timeout_at(until, pipe.read_buf(&mut piece)).await {
                Ok(Ok(read)) => open = read > 0,
                Ok(Err(_)) => open = false,
                Err(_) => break,
            }
        }
        if !piece.is_empty() {
            voice.output(stderr, &piece).await;
        }
        if !open {
            return;
        }
    }
}
