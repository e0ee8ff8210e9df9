//! What an earlier process of the agent left open.

use muster_common::{clock::Clock, ids::CommandId, reason::Reason};

use super::kinds::RESTART_AGENT;
use crate::{
    ledger::{Entry, Error, Ledger, Shared},
    platform::process,
    state::{CommandState, Report},
};

/// Ends what was started and not seen to end; what was not started still may be.
pub(super) async fn settle(ledger: &Shared, clock: &Clock) -> Result<(), Error> {
    let clock = clock.clone();
    ledger.with(move |ledger| settle_all(ledger, &clock)).await
}

fn settle_all(ledger: &mut Ledger, clock: &Clock) -> Result<(), Error> {
    let started = |entry: &&Entry| entry.state() == CommandState::Running;
    let left: Vec<Entry> = ledger.entries().filter(started).cloned().collect();
    for entry in left {
        if let Some(mark) = &entry.process
            && process::kill_leftover(mark)
        {
            tracing::warn!(command = %entry.ticket.id, "killed what command {} had left behind", entry.ticket.id);
        }
        let id = entry.ticket.id;
        ledger.ended(id, end(&entry, id, clock))?;
    }
    Ok(())
}

fn end(entry: &Entry, id: CommandId, clock: &Clock) -> Report {
    let now = clock.now();
    if entry.ticket.kind == RESTART_AGENT {
        // This process is the proof.
        return Report::new(0, CommandState::Succeeded, now);
    }
    tracing::warn!(command = %id, "command {id} was interrupted by the end of the agent");
    let message = "the agent ended while it ran: it may have run in part or whole";
    Report::new(0, CommandState::Interrupted, now).because(Reason::AgentStopped, message)
}
