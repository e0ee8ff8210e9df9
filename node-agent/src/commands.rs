//! Runs orders, each at most once.
//!
//! Everything passes through the ledger: an order is in it before it is judged,
//! marked as started before anything acts, and its output and end are in it
//! before they are told. What an earlier process started and did not see end is
//! reported as interrupted and never run again, but for scripts that were to survive:
//! those are followed to their end. At most [`SLOTS`] run at once, those of one lane one
//! after the other; the rest wait in the ledger.

pub mod archive;
mod brakes;
mod deeds;
pub mod errands;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod guard;
mod kinds;
mod lanes;
mod output;
mod recover;
mod rest;
mod task;
mod unwritten;
mod voice;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use muster_common::{
    clock::Clock,
    ids::{CommandId, InstanceId},
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use deeds::{Deeds, Doing, Stopping};
use errands::Errands;
pub use kinds::{NAMES as KINDS, Stop};
pub use task::Task;
pub use voice::Voice;

use crate::{
    ledger::Shared,
    locks,
    state::{CommandState, Pauses, Report, ServerTime, Ticket},
    verbs::{Hands, Runs},
};

/// Commands that run at once.
pub const SLOTS: usize = 4;

/// Requests that wait for the task.
const QUEUE: usize = 64;

/// Orders held that are not yet started. More are not taken: the control plane
/// offers them again in a later session.
const HELD: usize = 1024;

/// Output kept of one command: what a control plane keeps by default, and what
/// this host keeps at least and at most, whatever it is told.
const OUTPUT: u64 = 1024 * 1024;
const OUTPUT_AT_LEAST: u64 = 4 * 1024;
const OUTPUT_AT_MOST: u64 = 16 * 1024 * 1024;

/// What the room needs from others.
#[derive(Debug, Clone)]
pub struct Options {
    /// This process.
    pub instance: InstanceId,
    /// Where scripts and archives lie while they are needed.
    pub scripts: PathBuf,
    /// Makes units of systemd for scripts, where there is who can.
    pub runs: Option<Runs>,
    /// Who does what needs the rights of the host's administrator.
    pub hands: Hands,
    /// The host's rules.
    pub locks: locks::Reader,
    /// What time it is.
    pub clock: Clock,
    /// What time it is there.
    pub server_time: ServerTime,
    /// Asks for a new reading of the facts.
    pub refresh_facts: Arc<Notify>,
    /// Asks this process to start anew.
    pub restart: CancellationToken,
    /// The host was asked to boot anew.
    pub rebooting: Arc<AtomicBool>,
    /// While one holds no order starts.
    pub pauses: Pauses,
    /// What other rooms do for commands.
    pub errands: Arc<dyn Errands>,
    /// Who does what orders ask for. `None`: this host, by their kinds.
    pub deeds: Option<Arc<dyn Deeds>>,
}

/// A command whose end is not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which.
    pub id: CommandId,
    /// Where it is.
    pub state: CommandState,
    /// Its newest report that is stored.
    pub acked: u64,
    /// Its newest report.
    pub last: u64,
}

/// How other rooms reach the commands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    changed: watch::Receiver<u64>,
    ledger: Shared,
    output_limit: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Request {
    Deliver(Box<Ticket>),
    Cancel(CommandId, bool),
    Heard(Vec<CommandId>),
    Acked(CommandId, u64),
}

/// The room: what others hold, and the task that does the work.
///
/// # Errors
/// If the ledger cannot be read or written.
pub async fn open(options: Options, ledger: Shared) -> Result<(Handle, Task), crate::ledger::Error> {
    let left = recover::settle(&ledger, &options).await?;
    let (requests, inbox) = mpsc::channel(QUEUE);
    let (news, changed) = watch::channel(0);
    let output_limit = Arc::new(AtomicU64::new(OUTPUT));
    let handle =
        Handle { requests, changed, ledger: ledger.clone(), output_limit: Arc::clone(&output_limit) };
    Ok((handle, Task::new(options, ledger, inbox, news, output_limit).going_on(left)))
}

/// Ends all scripts in units of their own: of a node that is to be forgotten.
pub async fn end_scripts(runs: &Runs) {
    recover::end_scripts(runs, |_| false).await;
}

impl Handle {
    /// Hands an order over; at once, unless many are waiting.
    pub async fn deliver(&self, ticket: Ticket) {
        self.send(Request::Deliver(Box::new(ticket))).await;
    }

    /// Asks a command to end; with `force` it gets no time for that.
    pub async fn cancel(&self, id: CommandId, force: bool) {
        self.send(Request::Cancel(id, force)).await;
    }

    /// The control plane has spoken: what an earlier process left waiting may start now,
    /// except for these, which it has withdrawn. Returns when the ledger knows it.
    pub async fn heard(&self, withdrawn: Vec<CommandId>) {
        // First that: whatever is told afterwards tells how far this ledger is.
        if let Err(error) = self.ledger.with(crate::ledger::Ledger::heard).await {
            tracing::error!(error = %muster_common::error_chain::Chain(&error), "could not write down that the control plane was heard");
        }
        self.send(Request::Heard(withdrawn)).await;
    }

    /// The control plane has stored all reports up to this one.
    pub async fn acked(&self, id: CommandId, seq: u64) {
        self.send(Request::Acked(id, seq)).await;
    }

    /// Output that the control plane keeps of one command, in bytes; 0: it did not
    /// say. For commands that start from now on.
    pub fn limit_output(&self, bytes: u64) {
        let limit = if bytes == 0 { OUTPUT } else { bytes.clamp(OUTPUT_AT_LEAST, OUTPUT_AT_MOST) };
        self.output_limit.store(limit, Ordering::Relaxed);
    }

    /// Rises when there is something new to tell.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Commands whose end is not acknowledged.
    pub async fn open(&self) -> Vec<Open> {
        let open = |entry: &crate::ledger::Entry| Open {
            id: entry.ticket.id,
            state: entry.state(),
            acked: entry.acked,
            last: entry.last_seq,
        };
        self.ledger.with(move |ledger| ledger.entries().map(open).collect()).await
    }

    /// Reports of a command after `after`, at most about `bytes` of output.
    pub async fn reports(&self, id: CommandId, after: u64, bytes: usize) -> Vec<Report> {
        let read = self.ledger.with(move |ledger| ledger.reports(id, after, bytes)).await;
        read.unwrap_or_else(|error| {
            tracing::error!(command = %id, error = %muster_common::error_chain::Chain(&error), "could not read the reports of command {id}");
            Vec::new()
        })
    }

    async fn send(&self, request: Request) {
        // The task ends only with the process; what is lost then is said again in the next session.
        let _ = self.requests.send(request).await;
    }
}

#[cfg(test)]
mod tests;
