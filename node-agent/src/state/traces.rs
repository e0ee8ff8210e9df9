//! What this host did for orders whose traces somebody collects. It is told with what is
//! reported anyway; nothing here speaks to a collector.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use muster_common::{
    clock::{Clock, Instant, UnixMillis},
    generation::Generation,
    trace::{Context, OF_ORDER, SpanId},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Orders whose parts wait for a report; of more the oldest are forgotten.
const WAITING: usize = 8;

/// A part of what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What.
    pub name: String,
    /// Of this part.
    pub id: SpanId,
    /// Of the part of the same order that it is below. `None`: it is below the order itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// Unix time in microseconds, by the host's clock.
    pub begin_us: i64,
    /// Unix time in microseconds, by the host's clock.
    pub end_us: i64,
    /// Why it failed, one stable word; empty: it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What was done to bring a version of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemStory {
    /// Which.
    pub item: String,
    /// At which place of the history.
    pub generation: Generation,
    /// The parts of it.
    pub spans: Vec<Span>,
}

/// The parts of one order, while it is under way. Cheap to clone; of an order whose trace
/// nobody collects there are none.
#[derive(Debug, Clone, Default)]
pub struct Story(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    at: Context,
    whole: SpanId,
    name: String,
    clock: Clock,
    begin: (UnixMillis, Instant),
    /// Parts that have begun.
    count: AtomicUsize,
    parts: Mutex<Vec<Span>>,
}

/// A part that has begun. Dropped without its end: it is not told.
#[derive(Debug)]
pub struct Part(Option<Begun>);

#[derive(Debug)]
struct Begun {
    told: Arc<Told>,
    name: &'static str,
    id: SpanId,
    at: Instant,
}

/// Stories of items that were not told yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stories(Arc<Mutex<VecDeque<ItemStory>>>);

impl Story {
    /// Begins with an order. `traceparent`: what came with it; empty: nobody collects.
    #[must_use]
    pub fn of(traceparent: &str, name: impl FnOnce() -> String, clock: &Clock) -> Self {
        Self(Context::sampled(traceparent).map(|at| {
            let whole = SpanId::of(&at.trace, &format!("{}/whole", at.span));
            let begin = (clock.now(), clock.monotonic());
            let (clock, parts) = (clock.clone(), Mutex::default());
            let count = AtomicUsize::new(0);
            Arc::new(Told { at, whole, name: name(), clock, begin, count, parts })
        }))
    }

    /// A part of it begins.
    #[must_use]
    pub fn begin(&self, name: &'static str) -> Part {
        Part(self.0.as_ref().map(|told| {
            let number = told.count.fetch_add(1, Ordering::Relaxed);
            let id = SpanId::of(&told.at.trace, &format!("{}/{number}", told.whole));
            Begun { told: Arc::clone(told), name, id, at: told.clock.monotonic() }
        }))
    }

    /// It is over. All parts of it, the whole first.
    #[must_use]
    pub fn end(self, error: &str) -> Vec<Span> {
        let Some(told) = self.0 else { return Vec::new() };
        let end_us = told.micros(told.clock.monotonic());
        let begin_us = told.micros(told.begin.1);
        let (name, error) = (told.name.clone(), error.to_owned());
        let mut spans = vec![Span { name, id: told.whole, parent: None, begin_us, end_us, error }];
        spans.append(&mut told.parts.lock());
        spans
    }
}

impl Told {
    fn micros(&self, at: Instant) -> i64 {
        let since = i64::try_from((at - self.begin.1).as_micros()).unwrap_or(i64::MAX);
        self.begin.0.micros().saturating_add(since)
    }
}

impl Part {
    /// Where it is in its trace, for a program that is to go on with that. `None`: nobody collects.
    #[must_use]
    pub fn place(&self) -> Option<Context> {
        let begun = self.0.as_ref()?;
        Some(place(begun.told.at, begun.id))
    }

    /// It is over; `error` is empty if it went well.
    pub fn end(self, error: &str) {
        let Some(Begun { told, name, id, at: begun }) = self.0 else { return };
        let end = told.clock.monotonic();
        let mut parts = told.parts.lock();
        // One place is the whole's.
        if parts.len() + 1 < OF_ORDER {
            parts.push(Span {
                name: name.to_owned(),
                id,
                parent: Some(told.whole),
                begin_us: told.micros(begun),
                end_us: told.micros(end),
                error: error.to_owned(),
            });
        }
    }
}

impl Stories {
    /// Keeps one until it can be told.
    pub fn add(&self, story: ItemStory) {
        if !story.spans.is_empty() {
            let mut waiting = self.0.lock();
            waiting.push_back(story);
            let surplus = waiting.len().saturating_sub(WAITING);
            waiting.drain(..surplus);
        }
    }

    /// All that were not told yet.
    #[must_use]
    pub fn take(&self) -> Vec<ItemStory> {
        self.0.lock().drain(..).collect()
    }
}

/// Where the run of an order is in its trace, for a program that is to go on with that. `None`:
/// nobody collects.
#[must_use]
pub fn place_of_run(traceparent: &str) -> Option<Context> {
    let at = Context::sampled(traceparent)?;
    Some(place(at, of_times(at, "run")))
}

/// A part of an order, as those know it who collect the trace.
fn place(order: Context, id: SpanId) -> Context {
    order.at(order.part_of_host(id.as_bytes()))
}

fn of_times(at: Context, name: &str) -> SpanId {
    SpanId::of(&at.trace, &format!("{}/{name}", at.span))
}

/// What was done for an order that is over and of which only the times are known: when it came,
/// when it was started, if it was, and when it ended.
#[must_use]
pub fn told_by_times(
    traceparent: &str,
    name: &str,
    (came, started, ended): (UnixMillis, Option<UnixMillis>, UnixMillis),
    error: &str,
) -> Vec<Span> {
    let Some(at) = Context::sampled(traceparent) else { return Vec::new() };
    let id = |name: &str| of_times(at, name);
    let whole = id("whole");
    let span = |name: &str, id, parent, begin: UnixMillis, end: UnixMillis, error: &str| {
        let (name, error) = (name.to_owned(), error.to_owned());
        Span { name, id, parent, begin_us: begin.micros(), end_us: end.micros(), error }
    };
    let mut spans = vec![span(name, whole, None, came, ended, error)];
    spans.push(span("wait", id("wait"), Some(whole), came, started.unwrap_or(ended), ""));
    spans.extend(started.map(|started| span("run", id("run"), Some(whole), started, ended, error)));
    spans
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn of_an_order_that_nobody_collects_nothing_is_told() {
        let clock = Clock::test(UnixMillis(1000));
        for traceparent in ["", &SAMPLED.replace("-01", "-00"), "no trace"] {
            let story = Story::of(traceparent, || panic!("nobody asks for its name"), &clock);
            story.begin("swap").end("");
            assert_eq!(story.end(""), []);
            assert_eq!(told_by_times(traceparent, "x", (UnixMillis(1), None, UnixMillis(2)), ""), []);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_parts_of_an_order_are_below_the_whole_and_bounded() {
        let clock = Clock::test(UnixMillis(1000));
        let story = Story::of(SAMPLED, || "apply".to_owned(), &clock);
        for _ in 0..OF_ORDER + 5 {
            let part = story.begin("hook probe");
            tokio::time::advance(Duration::from_millis(2)).await;
            part.end("PROBE_FAILED");
        }
        let spans = story.end("PROBE_FAILED");
        assert_eq!(spans.len(), OF_ORDER);
        assert_eq!((spans[0].name.as_str(), spans[0].parent), ("apply", None));
        assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].id)));
        assert_eq!((spans[2].begin_us, spans[2].end_us), (1_002_000, 1_004_000));
        let mut ids: Vec<SpanId> = spans.iter().map(|span| span.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OF_ORDER);
    }

    #[test]
    fn a_program_is_told_the_place_that_its_part_gets() {
        let clock = Clock::test(UnixMillis(1000));
        let at: Context = SAMPLED.parse().unwrap();
        let story = Story::of(SAMPLED, || "apply".to_owned(), &clock);
        story.begin("stage").end("");
        let part = story.begin("hook probe");
        let told = part.place().unwrap();
        part.end("");
        let spans = story.end("");
        assert_eq!((told.trace, told.sampled), (at.trace, true));
        assert_eq!(told.span, at.part_of_host(spans[2].id.as_bytes()));
        let times = (UnixMillis(5), Some(UnixMillis(7)), UnixMillis(9));
        let run = told_by_times(SAMPLED, "run run-script", times, "").pop().unwrap();
        assert_eq!(place_of_run(SAMPLED).unwrap().span, at.part_of_host(run.id.as_bytes()));
        assert_eq!(place_of_run(""), None);
        assert_eq!(Story::default().begin("stage").place(), None);
    }

    #[test]
    fn times_that_are_known_tell_how_long_an_order_waited_and_ran() {
        let times = (UnixMillis(5), Some(UnixMillis(7)), UnixMillis(9));
        let spans = told_by_times(SAMPLED, "command reboot", times, "FAILED");
        let told: Vec<_> = spans.iter().map(|it| (it.name.as_str(), it.begin_us, it.end_us)).collect();
        assert_eq!(told, [("command reboot", 5000, 9000), ("wait", 5000, 7000), ("run", 7000, 9000)]);
        let refused =
            told_by_times(SAMPLED, "command reboot", (UnixMillis(5), None, UnixMillis(9)), "LOCAL_LOCK");
        assert_eq!(refused.len(), 2);
    }

    #[test]
    fn stories_that_nobody_takes_do_not_pile_up() {
        let stories = Stories::default();
        let story = |n: u64| {
            let story = Story::of(SAMPLED, || n.to_string(), &Clock::System);
            ItemStory { item: n.to_string(), generation: Generation::new(1, n), spans: story.end("") }
        };
        (0..20).for_each(|n| stories.add(story(n)));
        let kept: Vec<u64> = stories.take().into_iter().map(|it| it.generation.number).collect();
        assert_eq!(kept, (12..20).collect::<Vec<_>>());
        assert_eq!(stories.take(), []);
    }
}
