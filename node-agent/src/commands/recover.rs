//! What an earlier process of the agent left open.

use std::{fs, io, path::Path};

use muster_common::{clock::Clock, ids::CommandId, reason::Reason};

use super::{Options, kinds::RESTART_AGENT};
use crate::{
    ledger::{Entry, Error, Ledger, Shared},
    platform::process,
    state::{CommandState, Report},
};

/// Ends what was started and not seen to end; what was not started still may be.
pub(super) async fn settle(ledger: &Shared, options: &Options) -> Result<(), Error> {
    let (clock, scripts) = (options.clock.clone(), options.scripts.clone());
    ledger
        .with(move |ledger| {
            let settled = settle_all(ledger, &clock);
            sweep(&scripts);
            settled
        })
        .await
}

/// Scripts of runs that ended without their agent: nothing runs any more that would read them.
fn sweep(scripts: &Path) {
    match fs::remove_dir_all(scripts) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "could not clear {}", scripts.display());
        }
        _ => {}
    }
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
