//! What an earlier process of the agent left open.

use std::{fs, io, path::Path};

use muster_common::{ids::CommandId, reason::Reason};

use super::{
    Options,
    kinds::{self, Kind, Left, run_script},
    voice::Said,
};
use crate::{
    ledger::{Entry, Error, Ledger, Shared},
    platform::process,
    state::{CommandState, Report, Ticket},
    verbs::Runs,
};

/// What goes on, or is still to come to its end, though the agent that started it has ended.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) ticket: Ticket,
    pub(super) kind: Kind,
    /// What is in the ledger of its output.
    pub(super) said: Said,
    /// What this host keeps of its output, if that is known.
    pub(super) limit: Option<u64>,
}

/// Ends what was started and not seen to end, but for what goes on; what was not started
/// still may be.
pub(super) async fn settle(ledger: &Shared, options: &Options) -> Result<Vec<Unfinished>, Error> {
    let started = |entry: &&Entry| entry.state() == CommandState::Running;
    let left: Vec<Entry> =
        ledger.with(move |ledger| ledger.entries().filter(started).cloned().collect()).await;
    let (mut ended, mut unfinished) = (Vec::new(), Vec::new());
    for entry in left {
        let id = entry.ticket.id;
        if let Some(mark) = &entry.process
            && process::kill_leftover(mark)
        {
            tracing::warn!(command = %id, "killed what command {id} had left behind");
        }
        match kinds::left(&entry, options).await {
            Left::Ended(report) => ended.push((id, report)),
            Left::Comes(kind) => {
                let limit = run_script::limit(&entry.ticket, options).await;
                unfinished.push((entry.ticket, kind, limit));
            }
            Left::Unknown => ended.push((id, interrupted(id, options))),
        }
    }
    let goes_on = |id: CommandId| unfinished.iter().any(|(ticket, ..)| ticket.id == id);
    if let Some(runs) = &options.runs {
        end_scripts(runs, goes_on).await;
    }
    let scripts = options.scripts.clone();
    let settled = move |ledger: &mut Ledger| {
        let settled = ended.into_iter().try_for_each(|(id, report)| ledger.ended(id, report));
        sweep(&scripts, &unfinished);
        settled?;
        let left = unfinished.into_iter().map(|(ticket, kind, limit)| {
            Ok(Unfinished { said: said(ledger, ticket.id)?, ticket, kind, limit })
        });
        left.collect()
    };
    ledger.with(settled).await
}

/// Ends and forgets scripts in units of their own, but for some: also such as no ledger
/// knows, of a host that was set back to before they began.
pub(super) async fn end_scripts(runs: &Runs, but: impl Fn(CommandId) -> bool) {
    match runs.list().await {
        Ok(ids) => {
            for id in ids.into_iter().filter(|id| !but(*id)) {
                run_script::end_unknown(runs, id).await;
            }
        }
        Err(error) => tracing::error!(%error, "it cannot be seen which scripts an earlier agent left"),
    }
}

/// Scripts and archives of runs that ended without their agent: nothing runs any more that
/// would read them.
fn sweep(scripts: &Path, unfinished: &[(Ticket, Kind, Option<u64>)]) {
    let found = match fs::read_dir(scripts) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(%error, "could not clear {}", scripts.display());
            return;
        }
    };
    for entry in found.flatten() {
        let name = entry.file_name();
        match name.to_str().and_then(|name| name.parse().ok()) {
            Some(id) if unfinished.iter().any(|(ticket, ..)| ticket.id == id) => {}
            Some(id) => run_script::clear_here(scripts, id),
            None => {
                let _ = fs::remove_file(entry.path()); // half a file, an archive, or none of ours
            }
        }
    }
}

/// What the ledger has of a command's output.
fn said(ledger: &Ledger, id: CommandId) -> Result<Said, Error> {
    let (mut said, mut after) = (Said::default(), 0);
    loop {
        let reports = ledger.reports(id, after, usize::MAX)?;
        let Some(last) = reports.last() else { return Ok(said) };
        after = last.seq;
        for chunk in reports.iter().filter_map(|report| report.output.as_ref()) {
            said.add(chunk);
        }
    }
}

fn interrupted(id: CommandId, options: &Options) -> Report {
    tracing::warn!(command = %id, "command {id} was interrupted by the end of the agent");
    let message = "the agent ended while it ran: it may have run in part or whole";
    Report::new(0, CommandState::Interrupted, options.clock.now()).because(Reason::AgentStopped, message)
}
