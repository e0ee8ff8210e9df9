//! The one task that takes orders in, starts them when their time has come, and
//! writes their ends down.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use muster_common::{
    clock::{Clock, Instant, UnixMillis},
    drain::Drain,
    error_chain::Chain,
    ids::CommandId,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Options, Request, SLOTS,
    guard::{self, Verdict},
    kinds::{self, Kind, Stop},
};
use crate::{
    ledger::{Error, Shared, Taken},
    platform::process::Mark,
    state::{Chunk, CommandState, Report, Ticket},
};

/// Between looks at what waits for its time, for the disk, or to be forgotten.
const LOOK: Duration = Duration::from_secs(1);

type Run = Pin<Box<dyn Future<Output = (CommandId, Report)> + Send>>;

/// The task. Dropped: everything it runs is killed, and the next process says so.
pub struct Task {
    options: Arc<Options>,
    ledger: Shared,
    requests: mpsc::Receiver<Request>,
    news: Arc<watch::Sender<u64>>,
    running: FuturesUnordered<Run>,
    cancels: HashMap<CommandId, CancellationToken>,
    waiting: Vec<Ticket>,
    /// What the disk refused, in order; tried again. Nothing of it was acted upon.
    unwritten: Vec<Unwritten>,
}

enum Unwritten {
    Order(Box<Ticket>),
    End(CommandId, Box<Report>),
}

impl Task {
    pub(super) fn new(
        options: Options,
        ledger: Shared,
        requests: mpsc::Receiver<Request>,
        news: watch::Sender<u64>,
    ) -> Self {
        Self {
            options: Arc::new(options),
            ledger,
            requests,
            news: Arc::new(news),
            running: no_runs(),
            cancels: HashMap::new(),
            waiting: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    /// Works until the process ends.
    pub async fn run(mut self, drain: Drain) {
        self.waiting = self.left_waiting().await;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = drain.begun() => return,
                Some((id, report)) = self.running.next() => self.end(id, report).await,
                Some(request) = self.requests.recv() => self.on(request).await,
                _ = look.tick() => self.look().await,
            }
            self.start_what_can().await;
        }
    }

    async fn left_waiting(&mut self) -> Vec<Ticket> {
        let waits = |entry: &&crate::ledger::Entry| entry.state() == CommandState::Delivered;
        self.ledger
            .with(move |ledger| ledger.entries().filter(waits).map(|entry| entry.ticket.clone()).collect())
            .await
    }

    async fn on(&mut self, request: Request) {
        match request {
            Request::Deliver(ticket) => self.take(*ticket).await,
            Request::Cancel(id) => self.cancel(id).await,
            Request::Acked(id, seq) => {
                if let Err(error) = self.ledger.with(move |ledger| ledger.acked(id, seq)).await {
                    warn(id, "could not close", &error);
                }
            }
        }
    }

    async fn take(&mut self, ticket: Ticket) {
        let id = ticket.id;
        let order = ticket.clone();
        match self.ledger.with(move |ledger| ledger.take(&order)).await {
            Ok(Taken::Known) => {
                // Its reports are told again by the session; it is not run again.
                tracing::debug!(command = %id, "command {id} was delivered again");
                self.tell();
            }
            Ok(Taken::Forgotten) => {
                tracing::warn!(command = %id, "command {id} came long after its time and was ignored");
            }
            Ok(Taken::New) => {
                tracing::info!(command = %id, kind = ticket.kind, trace = ticket.trace, "command {id} ({}) was delivered", ticket.kind);
                match guard::on_arrival(&ticket, self.server_now())
                    .and_then(|verdict| verdict.report(self.now()))
                {
                    Some(refusal) => self.end(id, refusal).await,
                    None => self.waiting.push(ticket),
                }
            }
            Err(error) => {
                warn(id, "could not write down", &error);
                self.unwritten.push(Unwritten::Order(Box::new(ticket)));
            }
        }
    }

    async fn cancel(&mut self, id: CommandId) {
        if let Some(place) = self.waiting.iter().position(|ticket| ticket.id == id) {
            self.waiting.remove(place);
            let report = Report::new(0, CommandState::Cancelled, self.now());
            let reason = muster_common::reason::Reason::CancelledByOperator;
            self.end(id, report.because(reason, "it was cancelled before it started")).await;
        } else if let Some(running) = self.cancels.get(&id) {
            running.cancel();
        }
    }

    async fn start_what_can(&mut self) {
        let now = self.server_now();
        while self.running.len() < SLOTS
            && let Some(place) =
                self.waiting.iter().position(|ticket| ticket.not_before.is_none_or(|at| at <= now))
        {
            let ticket = self.waiting.remove(place);
            let allowed = self.options.locks.current().allows_command(&ticket.kind);
            match guard::judge(&ticket, allowed, now) {
                Verdict::Run(kind) => self.start(ticket, kind).await,
                refusal => {
                    if let Some(report) = refusal.report(self.now()) {
                        self.end(ticket.id, report).await;
                    }
                }
            }
        }
    }

    async fn start(&mut self, ticket: Ticket, kind: Kind) {
        let id = ticket.id;
        if let Err(error) = self.ledger.with(move |ledger| ledger.started(id)).await {
            warn(id, "could not mark as started", &error);
            self.unwritten.push(Unwritten::Order(Box::new(ticket)));
            return;
        }
        tracing::info!(command = %id, "command {id} started");
        self.tell();
        let cancel = CancellationToken::new();
        self.cancels.insert(id, cancel.clone());
        let voice = Voice {
            id,
            ledger: self.ledger.clone(),
            news: Arc::clone(&self.news),
            clock: self.options.clock.clone(),
            room: tokio::sync::Mutex::new(Room { left: self.options.output_limit, dropped: [0; 2] }),
        };
        let options = Arc::clone(&self.options);
        self.running.push(Box::pin(async move {
            let stop = stop(cancel, &ticket, &options);
            let report = kinds::run(kind, &ticket, &options, &voice, stop).await;
            voice.close().await;
            (id, report)
        }));
    }

    async fn end(&mut self, id: CommandId, report: Report) {
        self.cancels.remove(&id);
        let (state, end) = (report.state, report.clone());
        match self.ledger.with(move |ledger| ledger.ended(id, end)).await {
            Ok(()) => {
                tracing::info!(command = %id, ?state, "command {id} ended: {state:?}");
                self.tell();
            }
            Err(Error::NotOpen(_)) => {}
            Err(error) => {
                warn(id, "could not write down the end of", &error);
                self.unwritten.push(Unwritten::End(id, Box::new(report)));
            }
        }
    }

    async fn look(&mut self) {
        let server_now = self.server_now();
        if let Err(error) = self.ledger.with(move |ledger| ledger.tidy(server_now)).await {
            tracing::warn!(error = %Chain(&error), "the ledger could not be tidied");
        }
        if self.unwritten.is_empty() {
            return;
        }
        for unwritten in std::mem::take(&mut self.unwritten) {
            match unwritten {
                Unwritten::Order(ticket) if self.is_open(ticket.id).await => self.waiting.push(*ticket),
                Unwritten::Order(ticket) => self.take(*ticket).await,
                Unwritten::End(id, report) => self.end(id, *report).await,
            }
        }
    }

    async fn is_open(&mut self, id: CommandId) -> bool {
        self.ledger.with(move |ledger| ledger.entry(id).is_some()).await
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn now(&self) -> UnixMillis {
        self.options.clock.now()
    }

    fn server_now(&self) -> UnixMillis {
        self.options.server_time.at(self.now())
    }
}

#[allow(clippy::disallowed_methods)] // bounded: never more than SLOTS of them
fn no_runs() -> FuturesUnordered<Run> {
    FuturesUnordered::new()
}

async fn stop(cancel: CancellationToken, ticket: &Ticket, options: &Options) -> Stop {
    let left = ticket.finish_by.map(|at| at.since(options.server_time.at(options.clock.now())));
    let time_over = async {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = cancel.cancelled() => Stop::Cancelled,
        () = time_over => Stop::TimedOut,
    }
}

fn warn(id: CommandId, what: &str, error: &Error) {
    tracing::error!(command = %id, error = %Chain(error), "{what} command {id}; trying again");
}

/// What a running command speaks with: everything it says is in the ledger
/// before anyone hears it.
pub(super) struct Voice {
    id: CommandId,
    ledger: Shared,
    news: Arc<watch::Sender<u64>>,
    clock: Clock,
    room: tokio::sync::Mutex<Room>,
}

/// How much more is kept, and what was cut: of standard output, of standard error.
struct Room {
    left: u64,
    dropped: [u64; 2],
}

impl Voice {
    /// A report of now.
    pub(super) fn report(&self, state: CommandState) -> Report {
        Report::new(0, state, self.clock.now())
    }

    /// Time for intervals.
    pub(super) fn monotonic(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Which process it is.
    pub(super) async fn spawned(&self, mark: Mark) {
        let id = self.id;
        if let Err(error) = self.ledger.with(move |ledger| ledger.spawned(id, mark)).await {
            tracing::warn!(command = %id, error = %Chain(&error), "could not note the process of command {id}");
        }
    }

    /// A piece of output; what is over the limit is counted and cut.
    pub(super) async fn output(&self, stderr: bool, data: &[u8]) {
        let mut room = self.room.lock().await;
        let keep = usize::try_from(room.left).unwrap_or(usize::MAX).min(data.len());
        let kept = &data[..keep];
        if kept.is_empty() || !self.keep(stderr, kept.to_vec(), 0).await {
            room.dropped[usize::from(stderr)] += data.len() as u64;
            return;
        }
        room.left -= keep as u64;
        room.dropped[usize::from(stderr)] += (data.len() - keep) as u64;
    }

    /// Says what was cut.
    async fn close(&self) {
        let room = self.room.lock().await;
        for stderr in [false, true] {
            let dropped = room.dropped[usize::from(stderr)];
            if dropped > 0 {
                self.keep(stderr, Vec::new(), dropped).await;
            }
        }
    }

    async fn keep(&self, stderr: bool, data: Vec<u8>, dropped: u64) -> bool {
        let id = self.id;
        let report =
            Report { output: Some(Chunk { stderr, data, dropped }), ..self.report(CommandState::Running) };
        let kept = self.ledger.with(move |ledger| ledger.output(id, report)).await;
        if let Err(error) = &kept {
            tracing::error!(command = %id, error = %Chain(error), "could not keep output of command {id}");
        }
        self.news.send_modify(|count| *count += 1);
        kept.is_ok()
    }
}
