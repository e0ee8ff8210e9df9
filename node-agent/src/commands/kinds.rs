//! What orders can be: one file for each kind. What can be wrong with one is found here
//! again, whatever the control plane has checked: a host does not trust it.

pub(super) mod collect_logs;
mod disconnect;
mod reboot;
mod refresh_facts;
mod restart_agent;
mod rotate_identity;
pub(super) mod run_script;
mod service;

use std::io;

use muster_common::reason::Reason;
use muster_proto::types::v1 as types;
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::{Options, voice::Voice};
use crate::{
    ledger::Entry,
    locks,
    platform::tool::Broken,
    state::{CommandState, Report, Ticket},
    verbs::Locked,
};

const COLLECT_LOGS: &str = "collect-logs";
const DISCONNECT: &str = "disconnect";
const REBOOT: &str = "reboot";
const REFRESH_FACTS: &str = "refresh-facts";
const RESTART_AGENT: &str = "restart-agent";
const ROTATE_IDENTITY: &str = "rotate-identity";
pub(super) const RUN_SCRIPT: &str = "run-script";
const SERVICE: &str = "service";

/// Kinds that this agent knows: those that a lock file can name.
pub const NAMES: &[&str] = &locks::KINDS;

/// An order that can be run.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    CollectLogs(collect_logs::Wish),
    Disconnect,
    Reboot(reboot::Wish),
    /// The host was asked to boot, by an earlier process of this boot.
    Rebooting,
    RefreshFacts,
    RestartAgent,
    RotateIdentity,
    RunScript(run_script::Script),
    /// The script was started by an earlier process of the agent.
    RunningScript,
    Service(service::Wish),
}

/// An order that cannot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    Unknown,
    Args(String),
}

pub(super) fn parse(kind: &str, args: &[u8]) -> Result<Kind, Error> {
    match kind {
        COLLECT_LOGS => read(args, collect_logs::Wish::check).map(Kind::CollectLogs),
        DISCONNECT => Ok(Kind::Disconnect),
        REBOOT => read(args, reboot::Wish::check).map(Kind::Reboot),
        REFRESH_FACTS => Ok(Kind::RefreshFacts),
        RESTART_AGENT => Ok(Kind::RestartAgent),
        ROTATE_IDENTITY => Ok(Kind::RotateIdentity),
        RUN_SCRIPT => read(args, run_script::Script::check).map(Kind::RunScript),
        SERVICE => read(args, service::Wish::check).map(Kind::Service),
        _ => Err(Error::Unknown),
    }
}

fn read<A: Message + Default, K>(args: &[u8], check: fn(A) -> Result<K, String>) -> Result<K, Error> {
    let args =
        A::decode(args).map_err(|error| Error::Args(format!("the arguments do not decode: {error}")))?;
    check(args).map_err(Error::Args)
}

impl Kind {
    /// What the host's lock file has against it.
    pub(super) async fn locked(&self, ticket: &Ticket, options: &Options) -> Option<String> {
        let (name, locks) = (&ticket.kind, &options.locks.current());
        if let Some(refused) = locks.refuses_command(name) {
            return Some(refused);
        }
        match self {
            Self::RunScript(script) => run_script::locked(script, ticket, options).await,
            Self::Service(wish) => wish.locked(locks),
            Self::CollectLogs(wish) => wish.locked(locks),
            _ => None,
        }
    }
}

/// Why a command is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Someone asked for it.
    Cancelled,
    /// Its time is over.
    TimedOut,
}

/// A command is to stop, and may be told to hurry.
#[derive(Debug)]
pub(super) struct Halt {
    pub(super) why: Stop,
    /// No more time to end by itself.
    pub(super) force: CancellationToken,
}

impl Stop {
    /// The end that it brings about.
    #[must_use]
    pub fn report(self, voice: &Voice) -> Report {
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
    stop: impl Future<Output = Halt> + Send,
) -> Report {
    match kind {
        Kind::CollectLogs(wish) => collect_logs::run(&wish, ticket, options, voice, why(stop)).await,
        Kind::Disconnect => disconnect::run(options, voice, why(stop)).await,
        Kind::Reboot(wish) => reboot::run(&wish, options, voice, why(stop)).await,
        Kind::Rebooting => reboot::goes_down(options, voice, why(stop)).await,
        Kind::RefreshFacts => refresh_facts::run(options, voice),
        Kind::RestartAgent => restart_agent::run(options, voice, why(stop)).await,
        Kind::RotateIdentity => rotate_identity::run(options, voice, why(stop)).await,
        Kind::RunScript(script) => run_script::run(script, ticket, options, voice, stop).await,
        Kind::RunningScript => run_script::follow(ticket, options, voice, stop).await,
        Kind::Service(wish) => service::run(&wish, options, voice, why(stop)).await,
    }
}

/// For kinds that end at once when they are to stop: there is nothing to hurry.
pub(super) async fn why(stop: impl Future<Output = Halt> + Send) -> Stop {
    stop.await.why
}

/// What a new process of the agent makes of an order that an earlier one had started.
#[derive(Debug, PartialEq)]
pub(super) enum Left {
    /// This is how it ended.
    Ended(Report),
    /// It is still to come: someone has to wait for it.
    Comes(Kind),
    /// Nobody can tell.
    Unknown,
}

pub(super) async fn left(entry: &Entry, options: &Options) -> Left {
    match entry.ticket.kind.as_str() {
        RESTART_AGENT => restart_agent::left(entry, options),
        REBOOT => reboot::left(entry, options),
        RUN_SCRIPT if run_script::goes_on(&entry.ticket, options).await => Left::Comes(Kind::RunningScript),
        _ => Left::Unknown,
    }
}

/// A report with what was found.
fn with_result(report: Report, kind: types::command_result::Kind) -> Report {
    Report { result: types::CommandResult { kind: Some(kind) }.encode_to_vec(), ..report }
}

/// A tool of the host did not come to its end.
fn broken(broken: Broken<Stop>, tool: &str, voice: &Voice) -> Report {
    match broken {
        Broken::Stopped(why) => why.report(voice),
        Broken::Io(error) => not_begun(&error, format!("{tool} could not be run: {error}"), voice),
    }
}

/// It did not begin, and nothing of it ran: the host could not, or the executor's reading of
/// the lock file is newer than the one by which it was let through.
pub(super) fn not_begun(error: &io::Error, message: impl Into<String>, voice: &Voice) -> Report {
    match Locked::within(error) {
        Some(why) => denied(voice, why.to_string()),
        None => failed(voice, Reason::StartFailed, message),
    }
}

/// The host's lock file says no.
pub(super) fn denied(voice: &Voice, why: impl Into<String>) -> Report {
    voice.report(CommandState::Denied).because(Reason::LocalLock, why)
}

fn failed(voice: &Voice, reason: Reason, message: impl Into<String>) -> Report {
    voice.report(CommandState::Failed).because(reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_is_named_is_known() {
        assert!(NAMES.iter().all(|name| parse(name, &[]) != Err(Error::Unknown)));
        assert_eq!(parse("no-kind", &[]), Err(Error::Unknown));
    }
}
