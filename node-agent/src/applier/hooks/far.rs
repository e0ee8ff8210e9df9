//! Hooks that the executor runs, each as a unit of its own.

use std::{io, time::Duration};

use muster_common::{ids::CommandId, reason::Reason, trace};

use super::{Context, GRACE, Hook, KEPT, not_started};
use crate::{
    applier::{Failure, journal::Journal},
    platform::{
        runs::{NotStarted, Order},
        supervise::{Asked, Ended},
        units::Limits,
    },
    verbs::{Client, Runs, runs::Leash},
};

/// Between looks at how it stands.
const POLL: Duration = Duration::from_millis(50);
/// So many of them between looks whether its unit is still there.
const LOOKS: u32 = 20;
/// Bytes of its output that are looked through for the last ones.
const OUTPUT: u64 = 1024 * 1024;

/// Runs a hook to its end; none but success is one.
pub(super) async fn run(
    hook: &Hook,
    reason: Reason,
    context: Context<'_>,
    (client, id): (&Client, CommandId),
) -> Result<(), Failure> {
    let runs = Runs::Executor(client.clone());
    let mut leash = Leash { runs: &runs, id, holds: true };
    let done = match runs.start(order(hook, context, id)).await {
        Ok(()) => follow(hook, reason, &runs, id).await,
        Err(NotStarted::Locked(_)) => Err(Failure::hook_denied(&context.base.locks.current())),
        Err(NotStarted::Host(error)) => Err(not_started(hook, reason, &error)),
        Err(NotStarted::UserUnknown) => Err(not_started(hook, reason, &io::ErrorKind::NotFound.into())),
    };
    leash.holds = false;
    let done = match runs.kill(id).await {
        Ok(()) => done,
        // What may still run may still write.
        Err(error) => done.and(Err(lost(hook, reason, &error))),
    };
    runs.clear(id).await;
    done
}

impl Context<'_> {
    /// The run is known before it is ordered, so that a later agent can end it.
    pub(super) async fn write_down_run(&self, id: CommandId) -> io::Result<()> {
        let Some(journal) = self.journal else { return Ok(()) };
        let (journal, folder) = (Journal { run: Some(id), ..journal.clone() }, self.base.folder.clone());
        self.base.blocking(move || journal.save(&folder)).await
    }
}

fn order(hook: &Hook, context: Context<'_>, id: CommandId) -> Order {
    let own = [("MUSTER_ITEM", context.item.to_owned()), ("MUSTER_VERSION", context.version.to_owned())];
    let stage = context.stage.map(|stage| ("MUSTER_STAGE", stage.display().to_string()));
    let place = context.place.map(|place| (trace::VARIABLE, place.to_string()));
    let own = own.into_iter().chain(stage).map(|(name, value)| (name.to_owned(), value));
    // What the bundle itself says of its trace counts, as where the agent runs hooks alone.
    let place = place.map(|(name, value)| (name.to_owned(), value));
    Order {
        id,
        text: None,
        program: hook.argv.clone(),
        arguments: Vec::new(),
        environment: place.into_iter().chain(hook.environment.clone()).chain(own).collect(),
        folder: hook.folder.clone(),
        user: String::new(),
        limits: Limits { time: Some(hook.timeout), ..Limits::default() },
        output: OUTPUT,
        survives: false,
    }
}

/// Waits for the end of a hook, and ends it when its time is over.
async fn follow(hook: &Hook, reason: Reason, runs: &Runs, id: CommandId) -> Result<(), Failure> {
    let mut heard = Heard::default();
    let ended = tokio::time::timeout(hook.timeout, heard.until_ended(runs, id)).await;
    let failed = |message: String| Failure::rejected(reason, super::Cause::Content, message);
    let program = &hook.argv[0];
    let Ok(ended) = ended else {
        let _ = runs.ask(id, Some(Asked::TimedOut)).await; // it is killed soon
        let _ = tokio::time::timeout(GRACE, heard.until_ended(runs, id)).await;
        let seconds = hook.timeout.as_secs();
        return Err(failed(format!("{program} did not end within {seconds} s")).with_output(heard.tail()));
    };
    let Some(ended) = ended else {
        let error = io::Error::other("what watched over it was ended");
        return Err(lost(hook, reason, &error));
    };
    match (ended.not_started, ended.exit_code, ended.signal) {
        (Some(why), ..) => Err(not_started(hook, reason, &io::Error::other(why))),
        (None, Some(0), _) => Ok(()),
        (None, Some(code @ (126 | 127)), _) => Err(failed(format!(
            "{program} ended with exit status: {code}: a shell says so of a program that it cannot execute or find"
        ))
        .with_output(heard.tail())),
        (None, Some(code), _) => {
            Err(failed(format!("{program} ended with exit status: {code}")).with_output(heard.tail()))
        }
        (None, None, signal) => {
            let signal = signal.unwrap_or_default();
            Err(failed(format!("{program} was ended by signal {signal}")).with_output(heard.tail()))
        }
    }
}

fn lost(hook: &Hook, reason: Reason, error: &io::Error) -> Failure {
    let message = format!("{} was lost: {error}", hook.argv[0]);
    Failure::rejected(reason, super::Cause::Content, message)
}

/// The last part of what was heard.
#[derive(Default)]
struct Heard {
    at: [u64; 2],
    kept: Vec<u8>,
}

impl Heard {
    /// `None`: nobody saw how it ended.
    async fn until_ended(&mut self, runs: &Runs, id: CommandId) -> Option<Ended> {
        for poll in 1_u32.. {
            match runs.look(id, self.at, poll % LOOKS == 0).await {
                Ok(look) => {
                    let is_more = self.hear(&look.state.pieces);
                    if let Some(ended) = look.state.ended
                        && !is_more
                    {
                        return Some(ended);
                    }
                    if look.is_gone {
                        let last = runs.look(id, self.at, false).await.ok()?;
                        self.hear(&last.state.pieces);
                        return last.state.ended;
                    }
                    if is_more {
                        continue;
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot see how a hook stands"),
            }
            tokio::time::sleep(POLL).await;
        }
        None
    }

    fn hear(&mut self, pieces: &[Vec<u8>; 2]) -> bool {
        for (at, piece) in self.at.iter_mut().zip(pieces) {
            *at += piece.len() as u64;
            self.kept.extend_from_slice(piece);
        }
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
        pieces.iter().any(|piece| !piece.is_empty())
    }

    fn tail(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }
}
