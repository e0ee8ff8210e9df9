//! The one task that takes orders in, starts them when their time has come, and
//! writes their ends down.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use muster_common::{clock::UnixMillis, drain::Drain, error_chain::Chain, ids::CommandId, reason::Reason};
use tokio::sync::{mpsc, watch};

use super::{
    HELD, OUTPUT, Options, Request,
    brakes::{Brakes, stop},
    guard::{self, Verdict},
    kinds::{self, Kind, run_script},
    lanes::{self, Place},
    recover::Unfinished,
    rest,
    unwritten::{After, Unwritten},
    voice::Voice,
};
use crate::{
    ledger::{Entry, Error, Shared},
    state::{CommandState, Pulse, Report, Ticket},
};

/// Between looks at what waits for its time or for the disk.
const LOOK: Duration = Duration::from_secs(1);

/// Between looks at what is to be forgotten.
const TIDY: Duration = Duration::from_secs(30);

/// It comes round within this, whatever the disk and directory services make of it.
const ROUND: Duration = Duration::from_secs(120);

type Clearing = Pin<Box<dyn Future<Output = ()> + Send>>;
type Run = Pin<Box<dyn Future<Output = (CommandId, Report)> + Send>>;

/// What is known of an order while it runs.
struct Started {
    ticket: Arc<Ticket>,
    brakes: Brakes,
}

/// The task. Dropped: everything it runs is killed, and the next process says so.
pub struct Task {
    options: Arc<Options>,
    ledger: Shared,
    requests: mpsc::Receiver<Request>,
    news: Arc<watch::Sender<u64>>,
    running: FuturesUnordered<Run>,
    /// What was kept of those that ended, being cleared away.
    clearing: FuturesUnordered<Clearing>,
    started: HashMap<CommandId, Started>,
    waiting: BTreeMap<CommandId, Ticket>,
    /// Of those that wait: what an earlier process left, as long as nobody has said that it is
    /// still wanted. The host may have been set back to before it ran them.
    left: BTreeSet<CommandId>,
    /// What the disk refused; tried again. Nothing of it was acted upon.
    unwritten: BTreeMap<CommandId, Unwritten>,
    output_limit: Arc<AtomicU64>,
    pulse: Pulse,
}

impl Task {
    pub(super) fn new(
        options: Options,
        ledger: Shared,
        requests: mpsc::Receiver<Request>,
        news: watch::Sender<u64>,
        output_limit: Arc<AtomicU64>,
    ) -> Self {
        Self {
            options: Arc::new(options),
            ledger,
            requests,
            news: Arc::new(news),
            running: none(),
            clearing: none(),
            started: HashMap::new(),
            waiting: BTreeMap::new(),
            left: BTreeSet::new(),
            unwritten: BTreeMap::new(),
            output_limit,
            pulse: Pulse::default(),
        }
    }

    /// The same, telling that it gets on.
    #[must_use]
    pub fn beating(self, pulse: Pulse) -> Self {
        let task = Self { pulse, ..self };
        task.beat();
        task
    }

    fn beat(&self) {
        self.pulse.beat("commands", self.options.clock.monotonic(), ROUND);
    }

    /// Works until the process ends.
    pub async fn run(mut self, drain: Drain) {
        self.waiting = self.left_waiting().await;
        self.left = self.waiting.keys().copied().collect();
        let mut look = tokio::time::interval(LOOK);
        let mut tidy = tokio::time::interval(TIDY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tidy.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = drain.begun() => return,
                Some((id, report)) = self.running.next() => self.end(id, report).await,
                Some(()) = self.clearing.next() => continue,
                Some(request) = self.requests.recv() => self.on(request).await,
                _ = look.tick(), if self.has_waiting() => self.write_waiting().await,
                _ = tidy.tick() => self.tidy().await,
            }
            self.start_what_can().await;
            self.beat();
        }
    }

    async fn left_waiting(&mut self) -> BTreeMap<CommandId, Ticket> {
        let waits = |entry: &&Entry| entry.state() == CommandState::Delivered;
        let waiting = |entry: &Entry| (entry.ticket.id, entry.ticket.clone());
        self.ledger.with(move |ledger| ledger.entries().filter(waits).map(waiting).collect()).await
    }

    async fn on(&mut self, request: Request) {
        match request {
            Request::Deliver(ticket) => self.take(*ticket).await,
            Request::Cancel(id, force) => self.cancel(id, force, "it was cancelled before it started").await,
            Request::Heard(withdrawn) => {
                for id in withdrawn {
                    self.cancel(id, false, "it was withdrawn before it started").await;
                }
                self.left.clear();
            }
            Request::Acked(id, seq) => {
                if let Err(error) = self.ledger.with(move |ledger| ledger.acked(id, seq)).await {
                    warn(id, "could not close", &error);
                }
            }
        }
    }

    async fn take(&mut self, ticket: Ticket) {
        let id = ticket.id;
        let came = (!ticket.traceparent.is_empty()).then(|| self.now());
        let ticket = Ticket { came, ..ticket };
        if self.holds(id) {
            // Its reports are told again by the session; it is not run again.
            tracing::debug!(command = %id, "command {id} was delivered again");
            self.tell();
        } else if self.waiting.len() + self.unwritten.len() >= HELD {
            tracing::error!(command = %id, "command {id} was not taken: {HELD} others wait");
        } else {
            self.write_down(Unwritten { order: Some(Box::new(ticket)), end: None, id }).await;
        }
    }

    fn holds(&self, id: CommandId) -> bool {
        self.started.contains_key(&id) || self.waiting.contains_key(&id) || self.unwritten.contains_key(&id)
    }

    async fn cancel(&mut self, id: CommandId, force: bool, why: &str) {
        let report =
            Report::new(0, CommandState::Cancelled, self.now()).because(Reason::CancelledByOperator, why);
        if self.waiting.remove(&id).is_some() {
            self.end(id, report).await;
        } else if let Some(running) = self.started.get(&id) {
            if force {
                running.brakes.force.cancel();
            }
            running.brakes.ask.cancel();
        } else if let Some(unwritten) = self.unwritten.get_mut(&id)
            && unwritten.end.is_none()
        {
            // It will not be started, whenever the disk takes that down.
            unwritten.end = Some(Box::new(report));
        }
    }

    async fn start_what_can(&mut self) {
        let now = self.server_now();
        if let Some(pause) = self.options.pauses.now() {
            let may = self.waiting.values().filter(|ticket| !self.left.contains(&ticket.id));
            for (id, report) in rest::all(may, &pause, &self.options.clock, now) {
                self.waiting.remove(&id);
                self.end(id, report).await;
            }
            return;
        }
        // One may be asked for while they start.
        while !self.options.pauses.holds()
            && let Some(id) = self.next(now)
            && let Some(ticket) = self.waiting.remove(&id)
        {
            match guard::judge(&ticket, &self.options, now).await {
                Verdict::Run(kind) => self.start(ticket, kind).await,
                refusal => {
                    if let Some(report) = refusal.report(self.now()) {
                        self.end(ticket.id, report).await;
                    }
                }
            }
        }
    }

    /// The order that is next. What the disk has not taken yet keeps its place among the others.
    fn next(&self, now: Option<UnixMillis>) -> Option<CommandId> {
        let refused = self.unwritten.values().filter(|unwritten| unwritten.end.is_none());
        let mut orders: Vec<(&Ticket, bool)> =
            refused.filter_map(|unwritten| Some((&**unwritten.order.as_ref()?, false))).collect();
        orders.extend(self.waiting.values().map(|ticket| (ticket, !self.left.contains(&ticket.id))));
        orders.sort_unstable_by_key(|(ticket, _)| ticket.id);
        let running: Vec<Place<'_>> = self.started.values().map(|run| Place::of(&run.ticket)).collect();
        lanes::next(orders.into_iter(), &running, now)
    }

    async fn start(&mut self, ticket: Ticket, kind: Kind) {
        let id = ticket.id;
        match self.ledger.with(move |ledger| ledger.started(id)).await {
            Ok(()) => {}
            Err(Error::NotOpen(_)) => {
                tracing::error!(command = %id, "command {id} is past its start already: it is not started again");
                return;
            }
            Err(error) => {
                warn(id, "could not mark as started", &error);
                self.unwritten.insert(id, Unwritten { order: Some(Box::new(ticket)), end: None, id });
                return;
            }
        }
        tracing::info!(command = %id, "command {id} started");
        self.tell();
        let voice = self.voice(id, self.output_limit.load(Ordering::Relaxed));
        self.attend(ticket, voice, kind);
    }

    /// Takes up again what an earlier process started and what is still to come to its end.
    pub(super) fn going_on(mut self, left: Vec<Unfinished>) -> Self {
        for Unfinished { ticket, kind, said, limit } in left {
            tracing::info!(command = %ticket.id, "command {} went on without the agent", ticket.id);
            let voice = self.voice(ticket.id, limit.unwrap_or(OUTPUT)).after(said);
            self.attend(ticket, voice, kind);
        }
        self
    }

    fn voice(&self, id: CommandId, limit: u64) -> Voice {
        Voice::new(id, self.ledger.clone(), Arc::clone(&self.news), self.options.clock.clone(), limit)
    }

    /// Runs an order to its end.
    fn attend(&mut self, ticket: Ticket, voice: Voice, kind: Kind) {
        let (id, brakes, ticket) = (ticket.id, Brakes::default(), Arc::new(ticket));
        self.started.insert(id, Started { ticket: Arc::clone(&ticket), brakes: brakes.clone() });
        let options = Arc::clone(&self.options);
        let is_resumed = matches!(kind, Kind::RunningScript);
        self.running.push(Box::pin(async move {
            let stop = stop(brakes, &ticket, &options, is_resumed);
            let report = match &options.deeds {
                Some(deeds) => deeds.act(&ticket, &voice, Box::pin(kinds::why(stop))).await,
                None => kinds::run(kind, &ticket, &options, &voice, stop).await,
            };
            voice.close().await;
            (id, report)
        }));
    }

    async fn end(&mut self, id: CommandId, report: Report) {
        self.started.remove(&id);
        self.write_down(Unwritten { order: None, end: Some(Box::new(report)), id }).await;
    }

    /// Writes down what is to be known of an order before anything follows from it.
    async fn write_down(&mut self, unwritten: Unwritten) {
        let id = unwritten.id;
        let (now, server_now) = (self.now(), self.server_now());
        let (taken, unwritten) =
            self.ledger.with(move |ledger| (unwritten.to(ledger, now, server_now), unwritten)).await;
        match taken {
            Ok(After::Wait) => {
                if let Some(ticket) = unwritten.order {
                    tracing::info!(command = %id, kind = ticket.kind, trace = ticket.trace, "command {id} ({}) was delivered", ticket.kind);
                    self.waiting.insert(id, *ticket);
                }
            }
            Ok(After::Tell) => self.tell(),
            Ok(After::Ended(state)) => {
                // Only now: until its end is written down the next process may need it.
                let options = Arc::clone(&self.options);
                self.clearing.push(Box::pin(async move { run_script::clear(&options, id).await }));
                tracing::info!(command = %id, ?state, "command {id} ended: {state:?}");
                self.tell();
            }
            // It ended already: no later try will change that.
            Err(Error::NotOpen(_)) => {}
            Err(error) => {
                warn(id, "could not write down", &error);
                self.unwritten.insert(id, unwritten);
            }
        }
    }

    /// Whether something comes on without anybody who says so.
    fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.unwritten.is_empty()
    }

    async fn tidy(&mut self) {
        // Forgetting cannot be undone: not by a guess.
        let server_now = self.options.server_time.heard_at(self.options.clock.monotonic());
        if let Err(error) = self.ledger.with(move |ledger| ledger.tidy(server_now)).await {
            tracing::warn!(error = %Chain(&error), "the ledger could not be tidied");
        }
    }

    async fn write_waiting(&mut self) {
        for unwritten in std::mem::take(&mut self.unwritten).into_values() {
            self.write_down(unwritten).await;
        }
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn now(&self) -> UnixMillis {
        self.options.clock.now()
    }

    fn server_now(&self) -> Option<UnixMillis> {
        self.options.server_time.at(self.options.clock.monotonic())
    }
}

#[allow(clippy::disallowed_methods)] // bounded: lanes::next starts no more than SLOTS, each ends once
fn none<T>() -> FuturesUnordered<T> {
    FuturesUnordered::new()
}

fn warn(id: CommandId, what: &str, error: &Error) {
    tracing::error!(command = %id, error = %Chain(error), "{what} command {id}; trying again");
}
