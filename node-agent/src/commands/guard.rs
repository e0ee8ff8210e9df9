//! Whether an order is to be run. Pure, but for the users that this host knows, of whom it
//! may take a while to hear.

use muster_common::{clock::UnixMillis, reason::Reason};

use super::kinds::{self, Kind};
use crate::{
    commands::Options,
    state::{CommandState, Report, Ticket},
};

/// What is to become of an order.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// To be run when its time has come.
    Run(Kind),
    /// Ended before it began.
    Refuse { state: CommandState, reason: Reason, message: String },
}

/// Whether it can only be told that its time to run is over.
pub(super) fn is_over(ticket: &Ticket, server_now: Option<UnixMillis>) -> bool {
    ticket.finish_by.zip(server_now).is_some_and(|(at, now)| at <= now)
}

/// Judges an order at its start.
pub(super) async fn judge(ticket: &Ticket, options: &Options, server_now: Option<UnixMillis>) -> Verdict {
    let refuse = |state, reason, message: String| Verdict::Refuse { state, reason, message };
    if is_over(ticket, server_now) {
        let message = "its time was over before it could start".to_owned();
        return refuse(CommandState::TimedOut, Reason::FinishByPassed, message);
    }
    match kinds::parse(&ticket.kind, &ticket.args) {
        Err(kinds::Error::Unknown) => {
            let message = format!("this agent knows no command {:?}", ticket.kind);
            refuse(CommandState::Failed, Reason::CommandKindUnknown, message)
        }
        Err(kinds::Error::Args(message)) => refuse(CommandState::Failed, Reason::CommandArgsInvalid, message),
        Ok(kind) => match kind.locked(ticket, options).await {
            Some(message) => refuse(CommandState::Denied, Reason::LocalLock, message),
            None => Verdict::Run(kind),
        },
    }
}

/// Whether its start may be judged now. Times are the control plane's: as long as
/// nobody here knows what time it is there, an order that has any waits.
pub(super) fn is_due(ticket: &Ticket, server_now: Option<UnixMillis>) -> bool {
    match server_now {
        Some(now) => ticket.not_before.is_none_or(|at| at <= now),
        None => ticket.not_before.is_none() && ticket.finish_by.is_none(),
    }
}

/// Judges an order when it comes. `None`: it may wait for its start.
pub(super) fn on_arrival(ticket: &Ticket, server_now: Option<UnixMillis>) -> Option<Verdict> {
    server_now.is_some_and(|now| ticket.deliver_by < now).then(too_late)
}

/// What becomes of an order that must not be taken any more.
pub(super) fn too_late() -> Verdict {
    Verdict::Refuse {
        state: CommandState::Expired,
        reason: Reason::DeliverByPassed,
        message: "it came after its time for delivery".to_owned(),
    }
}

impl Verdict {
    /// The report of a refusal.
    pub(super) fn report(self, at: UnixMillis) -> Option<Report> {
        match self {
            Self::Run(_) => None,
            Self::Refuse { state, reason, message } => {
                Some(Report::new(0, state, at).because(reason, message))
            }
        }
    }
}
