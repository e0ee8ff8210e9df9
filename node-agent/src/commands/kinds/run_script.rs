//! Runs a script in a process group of its own. Its output is kept as it comes.

use std::{
    collections::BTreeMap, io, os::unix::process::ExitStatusExt as _, path::PathBuf, pin::pin,
    process::ExitStatus, time::Duration,
};

use muster_common::{crash, reason::Reason};
use muster_proto::types::v1 as types;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::{timeout, timeout_at},
};

use super::{Options, Stop};
use crate::{
    commands::{output::PIECE, voice::Voice},
    platform::{files, process},
    state::{CommandState, Report, Ticket},
};

const MAX_SCRIPT: usize = 64 * 1024;
const MAX_WORDS: usize = 64;
/// Between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(5);
/// For the last output, once the script itself has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Pieces of output wait no longer to grow.
const PIECE_WAITS: Duration = Duration::from_millis(200);
/// A line that is not over is held back no longer than this.
const LINE_WAITS: Duration = Duration::from_secs(1);

/// A script that can be run.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Script {
    text: String,
    interpreter: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Script {
    pub(in crate::commands) fn check(args: types::RunScript) -> Result<Self, String> {
        if args.script.is_empty() || args.script.len() > MAX_SCRIPT {
            return Err(format!(
                "the script has {} bytes; it must have 1 to {MAX_SCRIPT}",
                args.script.len()
            ));
        }
        if args.interpreter.len() > MAX_WORDS || args.environment.len() > MAX_WORDS {
            return Err(format!("interpreter and environment must have at most {MAX_WORDS} entries"));
        }
        let interpreter =
            if args.interpreter.is_empty() { vec!["/bin/sh".to_owned()] } else { args.interpreter };
        if !interpreter[0].starts_with('/') {
            return Err(format!("the interpreter {:?} is not an absolute path", interpreter[0]));
        }
        let has_nul = |text: &String| text.contains('\0');
        let environment: Vec<(String, String)> = args.environment.into_iter().collect();
        if interpreter.iter().any(has_nul)
            || environment
                .iter()
                .any(|(name, value)| name.is_empty() || name.contains('=') || has_nul(name) || has_nul(value))
        {
            return Err("interpreter and environment must be free of NUL, names also of '='".to_owned());
        }
        Ok(Self { text: args.script, interpreter, environment })
    }
}

/// The script's file, gone when its run is over.
struct ScriptFile(PathBuf);

impl Drop for ScriptFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(super) async fn run(
    script: Script,
    ticket: &Ticket,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Stop>,
) -> Report {
    let path = options.scripts.join(ticket.id.to_string());
    let written = files::private_folder(&options.scripts)
        .and_then(|()| files::write_atomically(&path, script.text.as_bytes(), 0o700));
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
        Ok((status, None)) => told(status, voice),
        Err(error) => voice
            .report(CommandState::Interrupted)
            .because(Reason::AgentStopped, format!("the kernel did not tell how it ended: {error}")),
    }
}

fn start(script: &Script, ticket: &Ticket, file: &ScriptFile) -> io::Result<process::Group> {
    let mut command = process::gated(&script.interpreter[0], &BTreeMap::new())?;
    command.args(&script.interpreter[1..]).arg(&file.0);
    command.envs(script.environment.iter().map(|(name, value)| (name, value)));
    command.env("MUSTER_COMMAND_ID", ticket.id.to_string());
    process::Group::spawn(command)
}

fn not_started(voice: &Voice, script: &Script, error: &io::Error) -> Report {
    let message = format!("{} could not be started: {error}", script.interpreter[0]);
    voice.report(CommandState::Failed).because(Reason::StartFailed, message)
}

fn told(status: ExitStatus, voice: &Voice) -> Report {
    let state = if status.success() { CommandState::Succeeded } else { CommandState::Failed };
    let report = Report { exit_code: status.code(), signal: status.signal(), ..voice.report(state) };
    match (status.success(), status.code(), status.signal()) {
        (true, ..) => report,
        (false, Some(code), _) => {
            report.because(Reason::ExitStatus, format!("it ended with exit status {code}"))
        }
        (false, None, signal) => report
            .because(Reason::ExitStatus, format!("it was ended by signal {}", signal.unwrap_or_default())),
    }
}

/// Listens to the script until it has ended, by itself or because it was stopped.
async fn attend(
    group: &mut process::Group,
    voice: &Voice,
    stop: impl Future<Output = Stop>,
) -> io::Result<(ExitStatus, Option<Stop>)> {
    let (stdout, stderr) = group.outputs();
    let mut listening = pin!(async {
        tokio::join!(listen(stdout, false, voice), listen(stderr, true, voice));
    });
    let mut ending = pin!(async {
        tokio::select! {
            status = group.wait() => status.map(|status| (status, None)),
            why = stop => group.end(GRACE).await.map(|status| (status, Some(why))),
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
