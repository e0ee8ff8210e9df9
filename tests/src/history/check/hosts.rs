//! What hosts run, and what is said of them.

use std::{collections::HashMap, time::Duration};

use super::{BUSY, Places, Verdict};
use crate::history::History;

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

/// Nobody is called offline who had no trouble.
pub(super) fn liveness(history: &History) -> Verdict {
    let mut verdict = Verdict::new("L", "nobody is called offline who had no trouble on the way");
    for (at, (node, state)) in history.liveness() {
        let is_troubled = || {
            history.troubles().any(|(over, trouble)| {
                // What was lost is sent again later and later, up to as long as the trouble lasted.
                let after = history.heartbeat * HEARTBEATS + (over - trouble.from) + BUSY;
                trouble.nodes.iter().any(|troubled| troubled == node)
                    && trouble.from <= at
                    && at <= over + after
            })
        };
        verdict.fact(state != "offline" || is_troubled(), || {
            format!("{node} was called offline at {at:?} without trouble")
        });
    }
    verdict
}
