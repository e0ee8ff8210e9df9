//! What may happen to a command.
//!
//! ```text
//!   queued ----> delivered ----> running ----> succeeded failed timed-out
//!     |              |              |          cancelled interrupted
//!     |              |              '--------> denied (its lock file changed as it began)
//!     |              '-----------------------> expired denied, and all the ends of above
//!     '--> cancelled, expired, interrupted (the store was restored from a backup)
//! ```
//!
//! An end is for ever. Reports come in order without gaps; one that was taken
//! already changes nothing and is acknowledged again.
//!
//! A host that never answers does not hold up its operation for ever: long
//! after the last moment at which it could have been running, a delivered
//! command is interrupted for `FINISH_BY_PASSED`: it may have run. If the host
//! comes back and says how it ended, the state and its reason stay, and exit
//! code, signal, message, result and output are filled in. The same holds for one that
//! was cancelled with force while its host was away.

use muster_common::{clock::UnixMillis, reason::Reason};

use super::{Command, State};

/// What happened to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is being handed to a session, for the first time or again: a host
    /// that knows its id answers and does not run it twice.
    Delivered,
    /// The host says.
    Reported(Report),
    /// An operator wants it to end.
    CancelRequested,
    /// An operator wants it to end at once.
    CancelForced {
        /// Whether its host can be told: if not, nobody waits for it.
        reachable: bool,
    },
    /// It is not to go out any more, for this reason, in these words.
    Withdrawn(Reason, String),
    /// Its latest time for delivery is over.
    DeliverByPassed,
    /// Its host should have said long ago how it ended. Whoever says so has
    /// added up its time for delivery and its time to run.
    AnswerOverdue,
    /// Its node was removed.
    NodeGone,
    /// Its node has left by itself, as this command told it to.
    NodeLeft,
    /// Its host has lost part of its memory and could run it again.
    LedgerWentBack,
    /// The store was restored from a backup: it may have gone out since that was made.
    StoreRestored,
}

/// One report of a host, without the bytes of its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// From 1, no gaps.
    pub seq: u64,
    /// Where the command is on the host.
    pub state: State,
    /// At its end, if something ran.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
    /// What the host found or made; counts at an end.
    pub result: Vec<u8>,
    /// Bytes of output that came with the report.
    pub output_bytes: u64,
    /// Bytes that were cut.
    pub dropped_bytes: u64,
}

/// Why an event cannot happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A report is missing before this one.
    #[error("report {got} came where {expected} belongs")]
    OutOfOrder {
        /// The next one.
        expected: u64,
        /// This one.
        got: u64,
    },
    /// A command does not go from one to the other.
    #[error("a command that is {} cannot become {}", from.as_str(), to.as_str())]
    Illegal {
        /// Where it is.
        from: State,
        /// Where it should go.
        to: State,
    },
    /// Not to be delivered any more.
    #[error("the latest time for its delivery is over")]
    TooLate,
}

impl Refused {
    /// The stable reason.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::OutOfOrder { .. } => Reason::SequenceOutOfOrder,
            Self::Illegal { .. } => Reason::StateConflict,
            Self::TooLate => Reason::DeliverByPassed,
        }
    }
}

/// The command after an event. Equal to the one before when the event changes
/// nothing; of a report, `report_seq` tells whether it was new.
///
/// # Errors
/// When the event cannot happen to this command.
pub fn apply(command: &Command, event: &Event, now: UnixMillis) -> Result<Command, Refused> {
    use State::{Cancelled, Delivered, Expired, Interrupted, Queued, Running, Succeeded};
    let same = || Ok(command.clone());
    let ended = |state, reason| Ok(command.to(state, now).because(reason));
    match (command.state, event) {
        (Queued, Event::Delivered) if now >= command.deliver_by => Err(Refused::TooLate),
        (Queued, Event::Delivered) => Ok(command.to(Delivered, now)),
        (Delivered, Event::Delivered) => same(),
        (from, Event::Delivered) => Err(Refused::Illegal { from, to: Delivered }),

        (_, Event::Reported(report)) => reported(command, report, now),

        (Queued, Event::CancelRequested) => {
            Ok(Command { cancel_requested: true, ..command.to(Cancelled, now) }
                .because(Reason::CancelledByOperator))
        }
        (Delivered | Running, Event::CancelRequested) if !command.cancel_requested => {
            Ok(Command { cancel_requested: true, updated_at: now, ..command.clone() })
        }
        (_, Event::CancelRequested) => same(),

        (Queued, Event::CancelForced { .. }) => {
            Ok(Command { cancel_requested: true, cancel_forced: true, ..command.to(Cancelled, now) }
                .because(Reason::CancelledByOperator))
        }
        (Delivered | Running, Event::CancelForced { reachable: true }) if !command.cancel_forced => {
            let forced = Command { cancel_requested: true, cancel_forced: true, ..command.clone() };
            Ok(Command { updated_at: now, ..forced })
        }
        (Delivered | Running, Event::CancelForced { reachable: false }) => {
            let forced = Command { cancel_requested: true, cancel_forced: true, ..command.clone() };
            Ok(forced.to(Interrupted, now).because(Reason::CancelledByOperator))
        }
        (_, Event::CancelForced { .. }) => same(),

        (Queued, Event::Withdrawn(reason, message)) => {
            Ok(Command { message: message.clone(), ..command.to(Cancelled, now) }.because(*reason))
        }
        (_, Event::Withdrawn(..)) => same(),

        (Queued, Event::DeliverByPassed) if now >= command.deliver_by => {
            ended(Expired, Reason::DeliverByPassed)
        }
        // What was delivered stays until its host answers: it may have run.
        (_, Event::DeliverByPassed) => same(),

        (Delivered | Running, Event::AnswerOverdue) if now >= command.deliver_by => {
            ended(Interrupted, Reason::FinishByPassed)
        }
        (_, Event::AnswerOverdue) => same(),

        // It cannot have been this one that told the node to leave.
        (Queued, Event::NodeGone | Event::NodeLeft) => ended(Expired, Reason::NodeGone),
        (Delivered | Running, Event::NodeGone) => ended(Interrupted, Reason::NodeGone),
        (Delivered | Running, Event::LedgerWentBack) => ended(Interrupted, Reason::LedgerWentBack),
        // Of what was delivered the host's ledger knows, and answers.
        (Queued, Event::StoreRestored) => ended(Interrupted, Reason::StoreRestored),
        (Delivered | Running, Event::NodeLeft) => Ok(command.to(Succeeded, now)),
        (_, Event::NodeGone | Event::NodeLeft | Event::LedgerWentBack | Event::StoreRestored) => same(),
    }
}

fn reported(command: &Command, report: &Report, now: UnixMillis) -> Result<Command, Refused> {
    let expected = command.report_seq.saturating_add(1);
    // Its host's last word, under a number that it has used for another one: the host was set
    // back to before it said that. It will not say anything else.
    let is_last = report.state.is_end() && !command.state.is_end();
    if (1..expected).contains(&report.seq) && !is_last {
        return Ok(command.clone());
    }
    if command.state.is_end() {
        // It ended here without its host (node removed, ledger went back, no
        // answer). What the host says now comes too late to count; it is taken
        // so that the host may forget it.
        let taken = Command { report_seq: report.seq.max(command.report_seq), ..command.clone() };
        let is_answer = command.is_unanswered() && report.state.is_end();
        return Ok(if is_answer { taken.answered(report, now) } else { taken });
    }
    if report.seq == 0 || report.seq > expected {
        return Err(Refused::OutOfOrder { expected, got: report.seq });
    }
    if !may_report(command.state, report.state) {
        return Err(Refused::Illegal { from: command.state, to: report.state });
    }
    let mut next = command.to(report.state, now);
    next.report_seq = report.seq.max(command.report_seq);
    next.output_bytes = next.output_bytes.saturating_add(report.output_bytes);
    next.dropped_bytes = next.dropped_bytes.saturating_add(report.dropped_bytes);
    if next.state.is_end() {
        next.exit_code = report.exit_code;
        next.signal = report.signal;
        next.reason = report.reason;
        next.result.clone_from(&report.result);
    }
    if !report.message.is_empty() {
        next.message.clone_from(&report.message);
    }
    Ok(next)
}

/// Whether a host may say so of a command that is `from` here.
const fn may_report(from: State, to: State) -> bool {
    match from {
        // A host speaks only of what it was given: after a restore the store
        // may have forgotten that it was.
        State::Queued | State::Delivered => !matches!(to, State::Queued),
        State::Running => matches!(
            to,
            State::Running
                | State::Succeeded
                | State::Failed
                | State::TimedOut
                | State::Cancelled
                | State::Interrupted
                // Its lock file was changed as it began: nothing of it ran.
                | State::Denied
        ),
        State::Succeeded
        | State::Failed
        | State::TimedOut
        | State::Cancelled
        | State::Interrupted
        | State::Expired
        | State::Denied => false,
    }
}

impl Command {
    fn to(&self, state: State, now: UnixMillis) -> Self {
        Self { state, updated_at: now, ended_at: state.is_end().then_some(now), ..self.clone() }
    }

    /// Whether it ended here without an answer of its host, which has not come since.
    fn is_unanswered(&self) -> bool {
        let unheard = [Some(Reason::FinishByPassed), Some(Reason::CancelledByOperator)];
        self.state == State::Interrupted && unheard.contains(&self.reason) && self.exit_code.is_none()
    }

    /// The answer that came too late: what there is to know, and no other end.
    fn answered(self, report: &Report, now: UnixMillis) -> Self {
        let dash = if report.message.is_empty() { "" } else { ": " };
        Self {
            exit_code: report.exit_code,
            signal: report.signal,
            result: report.result.clone(),
            message: format!("its host said later: {}{dash}{}", report.state.as_str(), report.message),
            updated_at: now,
            ..self
        }
    }

    fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

#[cfg(test)]
mod tests;
