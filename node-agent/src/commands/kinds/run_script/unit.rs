//! A script as a unit of its own. The agent only follows what the unit's first process
//! keeps in files, so that another process of the agent can go on where this one ends.

use std::{fs, io, path::Path, pin::pin, time::Duration};

use muster_common::{crash, ids::CommandId, reason::Reason, tasks};
use tokio_util::sync::CancellationToken;

use super::{Halt, Script, Stop, not_started, order, told, user_unknown};
use crate::{
    commands::{Options, kinds::denied, output, voice::Voice},
    platform::{
        runs::{NotStarted, State},
        supervise::{Asked, Ended},
    },
    state::{CommandState, Report, Ticket},
    verbs::{
        Runs,
        runs::{Leash, PIECE},
    },
};

/// Between looks at what it has said.
const POLL: Duration = Duration::from_millis(100);
/// So many of them between looks whether the unit is still there, and while it is to end.
const LOOKS: (u32, u32) = (10, 2);
/// So many without a word, and a line that is not over is held back no longer.
const LINE_WAITS: u32 = 10;
/// So many until what was to end, and is still there, is ended again: systemd may not have
/// answered. Longer than it has to end by itself.
const AGAIN: u32 = 100;
/// An agent that begins asks so often how a script stands, with this in between.
const ASKED: (u32, Duration) = (60, Duration::from_millis(500));

/// What a run has around it.
pub(super) struct Around<'a> {
    pub(super) ticket: &'a Ticket,
    pub(super) options: &'a Options,
    pub(super) voice: &'a Voice,
}

/// Starts the unit, and follows it to its end.
pub(super) async fn run(
    script: &Script,
    runs: &Runs,
    around: &Around<'_>,
    stop: impl Future<Output = Halt>,
) -> Report {
    let Around { ticket, options, voice } = *around;
    let now = options.server_time.at(options.clock.monotonic());
    let time = ticket.finish_by.zip(now).map(|(at, now)| at.since(now));
    // Before there is a unit: this may be dropped while systemd starts it.
    let mut leash = Leash { runs, id: ticket.id, holds: !script.survives };
    crash::point("agent.script.ordered");
    let order = options.locks.current().bounded(order(script, ticket, voice.limit(), time));
    if let Err(error) = runs.start(order).await {
        leash.holds = false;
        return match error {
            NotStarted::UserUnknown => user_unknown(voice, script),
            NotStarted::Locked(why) => denied(voice, why),
            NotStarted::Host(error) => not_started(voice, script, &error),
        };
    }
    crash::point("agent.script.launched");
    to_its_end(leash, voice, stop).await
}

/// What this host keeps of the output of a command that an earlier process of the agent
/// started.
pub(in crate::commands) async fn limit(ticket: &Ticket, options: &Options) -> Option<u64> {
    let state = stands(options.runs.as_ref()?, ticket.id).await?;
    state.is_known.then_some(state.output)
}

/// Whether a script that an earlier process of the agent started is to be followed: it goes on, or
/// it has ended and that is not yet told. Otherwise nothing of it is left, and nothing of
/// it will ever begin.
pub(in crate::commands) async fn goes_on(ticket: &Ticket, options: &Options) -> bool {
    let (Some(runs), id) = (&options.runs, ticket.id) else { return false };
    let Some(state) = stands(runs, id).await else { return false };
    if !state.is_known || runs.call_off(id).await.unwrap_or(false) {
        return false;
    }
    if state.ended.is_some() || state.survives {
        return true;
    }
    kill(runs, id).await;
    stands(runs, id).await.is_some_and(|state| state.ended.is_some()) // meanwhile
}

/// How a script stands. `None`: nobody says, for a while.
async fn stands(runs: &Runs, id: CommandId) -> Option<State> {
    for _ in 0..ASKED.0 {
        match runs.look(id, [u64::MAX, u64::MAX], false).await {
            Ok(look) => return Some(look.state),
            Err(error) => tracing::warn!(command = %id, %error, "cannot see how command {id} stands"),
        }
        tokio::time::sleep(ASKED.1).await;
    }
    None
}

/// Ends what may still run of a script that nobody here follows, and forgets it.
pub(in crate::commands) async fn end_unknown(runs: &Runs, id: CommandId) {
    if !runs.call_off(id).await.unwrap_or(false) {
        kill(runs, id).await;
    }
    runs.clear(id).await;
}

/// Forgets what was kept of a command while it ran.
pub(in crate::commands) async fn clear(options: &Options, id: CommandId) {
    if let Some(runs) = &options.runs {
        runs.clear(id).await;
    }
    let scripts = options.scripts.clone();
    tasks::blocking(move || clear_here(&scripts, id)).await;
}

/// The same, of one that ran without a unit.
pub(in crate::commands) fn clear_here(scripts: &Path, id: CommandId) {
    let kept = scripts.join(id.to_string());
    if let Err(error) = fs::remove_dir_all(&kept).or_else(|_| fs::remove_file(&kept))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(command = %id, %error, "could not clear what was kept of command {id}");
    }
}

/// Follows a unit until it has ended, by itself or because it was stopped.
pub(in crate::commands) async fn follow(
    ticket: &Ticket,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Halt>,
) -> Report {
    let Some(runs) = &options.runs else { return report(None, None, voice) };
    let survives = stands(runs, ticket.id).await.is_some_and(|state| state.survives);
    to_its_end(Leash { runs, id: ticket.id, holds: !survives }, voice, stop).await
}

async fn to_its_end(mut leash: Leash<'_>, voice: &Voice, stop: impl Future<Output = Halt>) -> Report {
    let Leash { runs, id, .. } = leash;
    let mut ears = Ears::default();
    let (ended, asked) = until_ended(runs, id, voice, &mut ears, stop).await;
    kill(runs, id).await;
    leash.holds = false;
    crash::point("agent.script.ended");
    let last = ears.rest(runs, id, voice).await;
    let dropped = ended.as_ref().map_or([0; 2], |ended| ended.dropped);
    for (stderr, dropped) in [false, true].into_iter().zip(dropped) {
        voice.lost(stderr, dropped).await;
    }
    report(ended, asked.or_else(|| last.and_then(|last| last.asked)), voice)
}

/// How it ended, as far as that is known, and why it was asked to.
async fn until_ended(
    runs: &Runs,
    id: CommandId,
    voice: &Voice,
    ears: &mut Ears,
    stop: impl Future<Output = Halt>,
) -> (Option<Ended>, Option<Asked>) {
    let (mut stop, mut is_told, mut hurry, mut is_forced) = (pin!(stop), false, None, false);
    let mut asked = None;
    for poll in 1_u32.. {
        let every = if asked.is_some() { LOOKS.1 } else { LOOKS.0 };
        // A question that nobody answers is asked again.
        if let Ok(look) = runs.look(id, ears.at, poll % every == 0).await {
            let is_more = ears.hear(&look.state, voice).await;
            let (ended, noted) = (look.state.ended, look.state.asked);
            if ended.is_some() {
                return (ended, asked.or(noted));
            }
            if look.is_gone {
                let last = ears.rest(runs, id, voice).await; // it may have ended between two looks
                return (last.and_then(|last| last.ended), asked.or(noted));
            }
            if asked.is_none() && noted.is_some() {
                asked = noted;
                end(runs, id, false).await; // whoever noted it may not have come to this
            }
            if is_more {
                continue;
            }
        }
        if asked.is_some() && poll % AGAIN == 0 {
            end(runs, id, is_forced).await;
        }
        tokio::select! {
            halt = &mut stop, if !is_told => {
                is_told = true;
                // It may have been asked by an earlier process, and then for that reason.
                match asked {
                    None => asked = Some(ask(runs, id, halt.why).await),
                    Some(_) => end(runs, id, false).await,
                }
                hurry = Some(halt.force);
            }
            () = hurried(hurry.as_ref()) => {
                (hurry, is_forced) = (None, true);
                end(runs, id, true).await;
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }
    (None, asked)
}

/// Somebody wants it killed, who was told that it is asked to end.
async fn hurried(force: Option<&CancellationToken>) {
    match force {
        Some(force) => force.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn ask(runs: &Runs, id: CommandId, why: Stop) -> Asked {
    let why = match why {
        Stop::Cancelled => Asked::Cancelled,
        Stop::TimedOut => Asked::TimedOut,
    };
    let told = runs.ask(id, Some(why)).await;
    crash::point("agent.script.asked");
    if let Err(error) = told {
        tracing::warn!(command = %id, %error, "could not stop command {id}; killing it");
        end(runs, id, true).await;
    }
    why
}

/// With force it gets no time for that.
async fn end(runs: &Runs, id: CommandId, force: bool) {
    if !force {
        match runs.ask(id, None).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(command = %id, %error, "could not stop command {id}; killing it"),
        }
    }
    let _ = runs.kill(id).await; // said by whoever waits for its end
}

async fn kill(runs: &Runs, id: CommandId) {
    if let Err(error) = runs.kill(id).await {
        tracing::error!(command = %id, %error, "something of command {id} may still run");
    }
}

fn report(ended: Option<Ended>, asked: Option<Asked>, voice: &Voice) -> Report {
    match (asked, ended) {
        (Some(Asked::Cancelled), _) => Stop::Cancelled.report(voice),
        (Some(Asked::TimedOut), _) => Stop::TimedOut.report(voice),
        (_, Some(Ended { not_started: Some(why), .. })) => {
            voice.report(CommandState::Failed).because(Reason::StartFailed, why)
        }
        (Some(Asked::Stopped), _) => voice.report(CommandState::Interrupted).because(
            Reason::AgentStopped,
            "it was ended from outside: the host went down, or someone stopped its unit",
        ),
        (None, Some(ended)) if ended.out_of_memory => {
            let report = voice.report(CommandState::Failed);
            let report = Report { exit_code: ended.exit_code, signal: ended.signal, ..report };
            report.because(
                Reason::OutOfMemory,
                "it was ended because it wanted more memory than there was for it",
            )
        }
        (None, Some(ended)) if ended.exit_code.or(ended.signal).is_some() => {
            told(ended.exit_code, ended.signal, voice)
        }
        (None, _) => voice
            .report(CommandState::Interrupted)
            .because(Reason::AgentStopped, "what watched over it was ended: nobody saw how it ended"),
    }
}

/// Hears what both streams bring.
#[derive(Default)]
struct Ears {
    /// Bytes heard of each.
    at: [u64; 2],
    /// Looks since something came, of each.
    quiet: [u32; 2],
}

impl Ears {
    /// Passes on what a look has found. `true`: there may be more at once.
    async fn hear(&mut self, state: &State, voice: &Voice) -> bool {
        for (stream, piece) in state.pieces.iter().enumerate() {
            let is_stderr = stream == 1;
            self.at[stream] += piece.len() as u64;
            self.quiet[stream] = if piece.is_empty() { self.quiet[stream].saturating_add(1) } else { 0 };
            for part in piece.chunks(output::PIECE) {
                voice.output(is_stderr, part).await;
            }
            if self.quiet[stream] == LINE_WAITS {
                voice.pause(is_stderr).await;
            }
        }
        state.pieces.iter().any(|piece| piece.len() >= PIECE)
    }

    /// Hears all that is left, of what has ended. What it finds last.
    async fn rest(&mut self, runs: &Runs, id: CommandId, voice: &Voice) -> Option<State> {
        loop {
            let look = runs.look(id, self.at, false).await;
            let state = look.map_err(|error| {
                tracing::warn!(command = %id, %error, "the last words of command {id} could not be heard");
            });
            let state = state.ok()?.state;
            if !self.hear(&state, voice).await {
                return Some(state);
            }
        }
    }
}
