//! What is to be written down of an order, until the disk takes it.

use muster_common::{clock::UnixMillis, ids::CommandId};

use super::guard;
use crate::{
    ledger::{Error, Ledger, Taken},
    state::{CommandState, Report, Span, Ticket, told_by_times},
};

/// An order, its end, or both: one that ended before it could be taken in.
pub(super) struct Unwritten {
    pub(super) id: CommandId,
    pub(super) order: Option<Box<Ticket>>,
    pub(super) end: Option<Box<Report>>,
}

/// What follows from what is now in the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It may be started when its time has come.
    Wait,
    /// It was known already: what is known is told again.
    Tell,
    /// It is over.
    Ended(CommandState),
}

impl Unwritten {
    /// Writes it down. An order that comes too late is answered, never run.
    pub(super) fn to(
        &self,
        ledger: &mut Ledger,
        now: UnixMillis,
        server_now: Option<UnixMillis>,
    ) -> Result<After, Error> {
        match (&self.order, &self.end) {
            (Some(order), Some(end)) if ledger.entry(self.id).is_none() => refuse(ledger, order, end),
            (_, Some(end)) => {
                let entry = ledger.entry(self.id);
                let spans = entry.map(|it| traced(&it.ticket, it.first.as_ref(), end)).unwrap_or_default();
                ledger.ended(self.id, Report { spans, ..(**end).clone() })?;
                Ok(After::Ended(end.state))
            }
            (Some(order), None) => take(ledger, order, now, server_now),
            (None, None) => Ok(After::Tell),
        }
    }
}

fn take(
    ledger: &mut Ledger,
    order: &Ticket,
    now: UnixMillis,
    server_now: Option<UnixMillis>,
) -> Result<After, Error> {
    if ledger.entry(order.id).is_some_and(|entry| entry.state() == CommandState::Delivered) {
        return Ok(After::Wait); // the disk took the order, and not its start
    }
    if let Some(refusal) = guard::on_arrival(order, server_now).and_then(|verdict| verdict.report(now)) {
        return refuse(ledger, order, &refusal);
    }
    match ledger.take(order)? {
        Taken::New => Ok(After::Wait),
        Taken::Known => Ok(After::Tell),
        Taken::Forgotten => match guard::too_late().report(now) {
            Some(refusal) => refuse(ledger, order, &refusal),
            None => Ok(After::Tell),
        },
    }
}

fn refuse(ledger: &mut Ledger, order: &Ticket, end: &Report) -> Result<After, Error> {
    let spans = traced(order, None, end);
    match ledger.refuse(order, Report { spans, ..end.clone() })? {
        Taken::New => Ok(After::Ended(end.state)),
        Taken::Known | Taken::Forgotten => Ok(After::Tell),
    }
}

/// What was done for an order, for its trace: from when it came to its end.
fn traced(order: &Ticket, first: Option<&Report>, end: &Report) -> Vec<Span> {
    let Some(came) = order.came else { return Vec::new() };
    let error = match (end.state, end.reason) {
        (CommandState::Succeeded, _) => String::new(),
        (_, Some(reason)) => reason.to_string(),
        (state, None) => format!("{state:?}"),
    };
    let times = (came, first.map(|first| first.at), end.at);
    told_by_times(&order.traceparent, &format!("run {}", order.kind), times, &error)
}
