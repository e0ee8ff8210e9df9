//! What becomes of a call, told to whoever collects it: parts of traces, as OpenTelemetry has
//! them, of this process and of the hosts that work for it.
//!
//! Promises: nobody waits for a collector, and what it does not take is dropped and counted. A
//! call that is not sampled costs a comparison. A host cannot speak in another trace than that
//! of the order it was given, and not in the name of another host.

mod current;
mod export;
mod items;
mod part;
mod span;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use muster_common::{
    clock::{Clock, Instant, UnixMillis},
    ids::NodeId,
    trace::{Context, SpanId, TraceId},
};
use muster_domain::item::ItemName;
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use current::{now, within};
pub use export::{Error, Exporter};
pub use items::Item;
pub use part::Part;
pub use span::{Attribute, By, Kind, Span, Told, Value};

use crate::{config, metrics::Metrics};

/// Parts that wait for the collector; some 2 MiB.
const WAITING: usize = 4096;
/// Calls of one second that are traced because their callers say so: all who may call share
/// what waits.
const WANTED: u32 = 50;

/// All of it. Cheap to clone.
#[derive(Clone)]
pub struct Traces(Arc<Inner>);

struct Inner {
    /// `None`: nobody collects.
    queue: Option<mpsc::Sender<Span>>,
    /// What the configuration says.
    configured: f64,
    /// The ratio in force, as the bits of a number; no number: what the configuration says.
    set: AtomicU64,
    /// The second that is now, and how many of its calls were traced at their callers' wish.
    wanted: Mutex<(i64, u32)>,
    items: items::Items,
    metrics: Metrics,
    clock: Clock,
}

/// A part that has begun.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// Where it is.
    pub at: Context,
    /// Below what; `None`: it is the first of its trace.
    parent: Option<SpanId>,
    begin: UnixMillis,
    since: Instant,
}

impl Traces {
    /// Where nobody collects.
    #[must_use]
    pub fn off(metrics: Metrics, clock: Clock) -> Self {
        Self::over(None, &config::Traces::default(), metrics, clock)
    }

    /// As configured; with what sends them on, if there is a place to send them to.
    ///
    /// # Errors
    /// If the endpoint is none.
    pub fn open(
        config: &config::Traces,
        replica: &str,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<(Self, Option<Exporter>), Error> {
        if config.endpoint.is_empty() {
            return Ok((Self::over(None, config, metrics, clock), None));
        }
        let (queue, waiting) = mpsc::channel(WAITING);
        let exporter = Exporter::to(&config.endpoint, replica, waiting, metrics.clone())?;
        Ok((Self::over(Some(queue), config, metrics, clock), Some(exporter)))
    }

    fn over(
        queue: Option<mpsc::Sender<Span>>,
        config: &config::Traces,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let (items, set) = (items::Items::default(), AtomicU64::new(f64::NAN.to_bits()));
        let (configured, wanted) = (config.sample, Mutex::default());
        Self(Arc::new(Inner { queue, configured, set, wanted, items, metrics, clock }))
    }

    /// Whether somebody collects.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.queue.is_some()
    }

    /// Which part of the calls is traced.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.set().unwrap_or(self.0.configured)
    }

    /// The same, if somebody has set it.
    #[must_use]
    pub fn set(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.set.load(Relaxed))).filter(|ratio| !ratio.is_nan())
    }

    /// Another part of the calls is traced from now on. `None`: what the configuration says.
    pub fn sample(&self, ratio: Option<f64>) {
        self.0.set.store(ratio.unwrap_or(f64::NAN).to_bits(), Relaxed);
    }

    /// A call has come. Its trace; and where it is in it, if that is collected: its caller may
    /// have decided that, else a part of all traces is. Of more callers' wishes than are heard
    /// in a second a part is, too.
    #[must_use]
    pub fn call(&self, given: Option<Context>) -> (TraceId, Option<Begun>) {
        let trace = given.map_or_else(TraceId::generate, |given| given.trace);
        let is_sampled = self.is_on()
            && match given {
                Some(given) if !given.sampled => false,
                Some(_) if self.hears_wish() => true,
                _ => trace.is_within(self.ratio()),
            };
        let begun = is_sampled.then(|| {
            let at = Context { trace, span: SpanId::generate(), sampled: true };
            self.begin_at(at, given.map(|given| given.span))
        });
        (trace, begun)
    }

    fn hears_wish(&self) -> bool {
        let second = self.0.clock.now().0.div_euclid(1000);
        let mut wanted = self.0.wanted.lock();
        if wanted.0 != second {
            *wanted = (second, 0);
        }
        wanted.1 = wanted.1.saturating_add(1);
        wanted.1 <= WANTED
    }

    /// Begins a part below another one.
    #[must_use]
    pub fn begin(&self, below: Context) -> Begun {
        self.begin_at(below.at(SpanId::generate()), Some(below.span))
    }

    fn begin_at(&self, at: Context, parent: Option<SpanId>) -> Begun {
        let (begin, since) = (self.0.clock.now(), self.0.clock.monotonic());
        Begun { at, parent, begin, since }
    }

    /// A part that has begun, told as cancelled if nobody waits for its end.
    #[must_use]
    pub fn part(&self, begun: Begun, name: String, kind: Kind, attributes: Vec<Attribute>) -> Part {
        Part::new(self.clone(), begun, name, kind, attributes)
    }

    fn end(&self, begun: &Begun, name: String, kind: Kind, error: &str, attributes: Vec<Attribute>) {
        let took = self.0.clock.monotonic() - begun.since;
        let begin_us = begun.begin.micros();
        self.tell(Span {
            by: By::Here,
            trace: begun.at.trace,
            id: begun.at.span,
            parent: begun.parent,
            name,
            kind,
            begin_us,
            end_us: begin_us.saturating_add(i64::try_from(took.as_micros()).unwrap_or(i64::MAX)),
            error: error.to_owned(),
            attributes,
        });
    }

    /// Tells of a part. What cannot be told now never is.
    pub fn tell(&self, span: Span) {
        let Some(queue) = &self.0.queue else { return };
        if queue.try_send(span).is_err() {
            self.0.metrics.spans("dropped", 1);
        }
    }

    /// Tells of what a host did for an order that lived from one time to another, all below one part.
    pub fn tell_of_host(&self, by: &By, below: Context, life: (UnixMillis, UnixMillis), told: Vec<Told>) {
        if self.is_on() {
            span::of_host(by, below, life, told).into_iter().for_each(|span| self.tell(span));
        }
    }

    /// The items that hosts were given in a trace.
    #[must_use]
    pub fn items(&self) -> Items<'_> {
        Items(self)
    }
}

/// The items that hosts were given in a trace, until they have said what became of them.
#[derive(Clone, Copy)]
pub struct Items<'a>(&'a Traces);

impl Items<'_> {
    /// One is given to its host, for what was asked at this place. The place of it.
    #[must_use]
    pub fn given(self, item: Item, asked: Context) -> Option<Context> {
        self.ordered(item, asked, false)
    }

    /// One is to be taken off its host, for what was asked at this place. The place of it.
    #[must_use]
    pub fn taken(self, item: Item, asked: Context) -> Option<Context> {
        self.ordered(item, asked, true)
    }

    fn ordered(self, item: Item, asked: Context, removes: bool) -> Option<Context> {
        if !self.0.is_on() {
            return None;
        }
        let given = self.0.0.items.given(item, asked, removes, self.0.0.clock.now());
        if given.is_none() {
            self.0.0.metrics.spans("dropped", 1);
        }
        given
    }

    /// Whether anything is waited for.
    #[must_use]
    pub fn any(self) -> bool {
        self.0.0.items.any()
    }

    /// A host says what it did.
    pub fn done(self, item: &Item, told: Vec<Told>) {
        let dropped = self.0.0.items.done(item, told, self.0.0.clock.now());
        self.0.0.metrics.spans("dropped", dropped as u64);
    }

    /// The session of a host has ended.
    pub fn left(self, node: NodeId) {
        if self.any() {
            self.0.0.items.left(node, self.0.0.clock.now());
        }
    }

    /// It is stored that one is on its host no more.
    pub fn gone(self, node: NodeId, item: &ItemName, name: &str) {
        let now = self.0.0.clock.now();
        let Some((item, ended)) = self.0.0.items.gone(node, item) else { return };
        for span in ended.spans(&item, name, "removed", false, now) {
            self.0.tell(span);
        }
    }

    /// It is stored what became of one, at this generation or a newer one.
    pub fn stored(self, item: &Item, name: &str, outcome: &'static str, is_refusal: bool) {
        let now = self.0.0.clock.now();
        let Some(ended) = self.0.0.items.stored(item) else { return };
        for span in ended.spans(item, name, outcome, is_refusal, now) {
            self.0.tell(span);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
