//! What orders can be. One file for each kind that does more than tell others.

mod run_script;

use muster_common::reason::Reason;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::{Options, voice::Voice};
use crate::state::{CommandState, Report, Ticket};

pub(super) const RESTART_AGENT: &str = "restart-agent";
const REFRESH_FACTS: &str = "refresh-facts";
const RUN_SCRIPT: &str = "run-script";

/// Kinds that this agent knows.
pub const NAMES: &[&str] = &[REFRESH_FACTS, RESTART_AGENT, RUN_SCRIPT];

/// An order that can be run.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    RestartAgent,
    RefreshFacts,
    RunScript(run_script::Script),
}

/// An order that cannot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    Unknown,
    Args(String),
}

pub(super) fn parse(kind: &str, args: &[u8]) -> Result<Kind, Error> {
    match kind {
        RESTART_AGENT => Ok(Kind::RestartAgent),
        REFRESH_FACTS => Ok(Kind::RefreshFacts),
        RUN_SCRIPT => {
            let args = muster_proto::types::v1::RunScript::decode(args)
                .map_err(|error| Error::Args(format!("the arguments do not decode: {error}")))?;
            run_script::Script::check(args).map(Kind::RunScript).map_err(Error::Args)
        }
        _ => Err(Error::Unknown),
    }
}

/// Why a command is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled,
    TimedOut,
}

impl Stop {
    fn report(self, voice: &Voice) -> Report {
        match self {
            Self::Cancelled => voice
                .report(CommandState::Cancelled)
                .because(Reason::CancelledByOperator, "it was stopped because someone asked"),
            Self::TimedOut => voice
                .report(CommandState::TimedOut)
                .because(Reason::FinishByPassed, "it was stopped at its time limit"),
        }
    }
}

/// Runs an order to its end.
pub(super) async fn run(
    kind: Kind,
    ticket: &Ticket,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Stop>,
) -> Report {
    match kind {
        Kind::RefreshFacts => {
            options.refresh_facts.notify_one();
            voice.report(CommandState::Succeeded)
        }
        Kind::RestartAgent => restart(&options.restart, voice, stop).await,
        Kind::RunScript(script) => run_script::run(script, ticket, options, voice, stop).await,
    }
}

/// Ends only if the restart does not come: the next process reports the success.
async fn restart(restart: &CancellationToken, voice: &Voice, stop: impl Future<Output = Stop>) -> Report {
    restart.cancel();
    stop.await.report(voice)
}
