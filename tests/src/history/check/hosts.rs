//! What hosts run, and what is said of them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{BUSY, Places, Verdict};
use crate::history::{History, Trouble};

/// Heartbeats in which a live node runs what it should.
const HEARTBEATS: u32 = 3;

/// No host goes back to what was committed before what it runs.
pub(super) fn i3(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I3", "no host goes back in the history of what it should run");
    let places = Places::of(history);
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for (node, key, value) in history.applied() {
        let place = places.get(key, value);
        let before = newest.entry(node).or_default();
        verdict.fact(place.is_some_and(|place| place >= *before), || {
            format!(
                "{node} ran {value:?} of {key}, committed at {place:?}, after what was committed at {before}"
            )
        });
        *before = place.unwrap_or(0).max(*before);
    }
    verdict
}

/// A node that is heard again runs, within three heartbeats, what was committed last.
pub(super) fn i4(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I4", "live nodes run what they should within three heartbeats");
    let last: HashMap<&str, &str> =
        history.entries().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_deref()?))).collect();
    let synced: HashMap<&str, (Duration, &str, &str)> =
        history.in_sync().map(|(at, (node, key, value))| (node, (at, key, value))).collect();
    for (heard, node) in history.live() {
        let Some((at, key, value)) = synced.get(node) else {
            verdict.fact(false, || format!("{node} is live and never runs what it should"));
            continue;
        };
        let wait = at.saturating_sub(heard);
        verdict.fact(wait <= history.heartbeat * HEARTBEATS + BUSY, || {
            format!("{node} was heard and ran what it should only {wait:?} later")
        });
        verdict.fact(last.get(key) == Some(value), || {
            format!("{node} is said to be in sync and runs {value:?} of {key}, not {:?}", last.get(key))
        });
    }
    verdict
}

/// Until when nodes may be called offline by a trouble that is over then.
#[must_use]
pub fn troubled_until(over: Duration, trouble: &Trouble, heartbeat: Duration) -> Duration {
    // What was lost is sent again later and later, up to as long as the trouble lasted.
    over + heartbeat * HEARTBEATS + over.saturating_sub(trouble.from) + BUSY
}

/// Nobody is called offline who had no trouble: each heartbeat of a node without any is a fact, and so is each
/// time that one is called offline. That it is called anything else is none.
pub(super) fn liveness(history: &History) -> Verdict {
    let mut verdict = Verdict::new("L", "nobody is called offline who had no trouble on the way");
    let nodes: HashSet<&str> = history.liveness().map(|(_, (node, _))| node).collect();
    let end = history.events.iter().map(|event| event.at).max().unwrap_or_default();
    let troubles: HashMap<&str, Vec<(Duration, Duration)>> =
        nodes.iter().map(|node| (*node, troubles_of(history, node, end))).collect();
    for (at, (node, _)) in history.liveness().filter(|(_, (_, state))| *state == "offline") {
        let is_troubled = troubles[node].iter().any(|(from, until)| *from <= at && at <= *until);
        verdict.fact(is_troubled, || format!("{node} was called offline at {at:?} without trouble"));
    }
    for times in troubles.values() {
        let quiet = end.saturating_sub(together(times)).as_millis() / history.heartbeat.as_millis().max(1);
        verdict.looked_at += usize::try_from(quiet).unwrap_or(usize::MAX);
    }
    verdict
}

/// When a node had trouble up to the end, from when until when, the first first.
fn troubles_of(history: &History, node: &str, end: Duration) -> Vec<(Duration, Duration)> {
    let mut held: Vec<(Duration, usize)> =
        history.held().filter(|(_, (_, of))| *of == node).map(|(at, (by, _))| (at, by)).collect();
    held.push((end, usize::MAX));
    // What is said of it comes a moment later than it is so.
    let was_with = |plane: usize, from: Duration, until: Duration| {
        held.windows(2).any(|it| it[0].1 == plane && it[0].0 <= until && from <= it[1].0 + BUSY)
    };
    let mut times = Vec::new();
    for (over, trouble) in history.troubles() {
        let (from, until) = (trouble.from, troubled_until(over, trouble, history.heartbeat));
        let is_its = trouble.nodes.iter().any(|of| of == node);
        if is_its || trouble.of.iter().any(|plane| was_with(*plane, from, until)) {
            times.push((from, until.min(end)));
        }
    }
    times.sort_unstable();
    times
}

/// How long some times are together.
fn together(times: &[(Duration, Duration)]) -> Duration {
    let (mut sum, mut far) = (Duration::ZERO, Duration::ZERO);
    for (from, until) in times {
        sum += until.saturating_sub(far.max(*from));
        far = far.max(*until);
    }
    sum
}
