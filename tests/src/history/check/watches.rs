//! What watchers are sent.

use std::collections::{HashMap, HashSet};

use super::{Places, Verdict};
use crate::history::History;

/// A watcher of the audit is sent every entry once, in the order of commits, over all breaks of its
/// stream; one of the fleet is sent no value after a newer one, and the last of each.
pub(super) fn i11(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I11", "a watcher is sent everything once, in order, over all breaks");
    let mut watchers: HashMap<usize, Vec<(u64, &[u8])>> = HashMap::new();
    for (watcher, _, place, hash) in history.fed() {
        let sent = watchers.entry(watcher).or_default();
        let before = sent.last().map_or(0, |(place, _)| *place);
        verdict.fact(before < place, || format!("watcher {watcher} was sent {place} after {before}"));
        sent.push((place, hash));
    }
    for (watcher, sent) in watchers {
        let (Some((first, _)), Some((last, _))) = (sent.first(), sent.last()) else { continue };
        let sent: HashSet<(u64, &[u8])> = sent.iter().copied().collect();
        for entry in history.entries().filter(|entry| (*first..=*last).contains(&entry.place)) {
            verdict.fact(sent.contains(&(entry.place, &entry.hash[..])), || {
                format!("watcher {watcher} was not sent {}", entry.place)
            });
        }
    }
    fleet(history, &mut verdict);
    verdict
}

/// The same value may come twice: a node is sent whole whenever something of it changed.
fn fleet(history: &History, verdict: &mut Verdict) {
    let places = Places::of(history);
    let last: HashMap<&str, &str> =
        history.entries().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_deref()?))).collect();
    let mut newest: HashMap<&str, (u64, &str)> = HashMap::new();
    for (plane, key, value) in history.shown().filter(|(_, key, _)| last.contains_key(key)) {
        let before = newest.get(key).map_or(0, |(place, _)| *place);
        let place = places.get(key, value);
        verdict.fact(place.is_some_and(|place| place >= before), || {
            format!(
                "control plane {plane} has sent {key} as {value:?}, committed at {place:?}, after {before}"
            )
        });
        newest.insert(key, (place.unwrap_or(before).max(before), value));
    }
    for (key, (_, value)) in newest {
        verdict.fact(last.get(key) == Some(&value), || {
            format!("{key} was sent last as {value:?}, not as {:?}", last.get(key))
        });
    }
}

/// A watch of the audit that is taken up at another control plane goes on with the next entry.
pub(super) fn i11_elsewhere(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I11 elsewhere", "a watch goes on with the next entry at another one");
    let record: Vec<(u64, &[u8])> =
        history.entries().map(|entry| (entry.place, entry.hash.as_slice())).collect();
    let follows: HashMap<u64, (u64, &[u8])> = record.windows(2).map(|two| (two[0].0, two[1])).collect();
    let mut before: HashMap<usize, (usize, u64)> = HashMap::new();
    let end = record.last().map_or(0, |(place, _)| *place);
    // What was written after the audit was read is on no record.
    for (watcher, plane, place, hash) in history.fed().filter(|(_, _, place, _)| *place <= end) {
        let moved = before.insert(watcher, (plane, place)).filter(|(there, _)| *there != plane);
        if let Some((there, last)) = moved {
            verdict.fact(follows.get(&last) == Some(&(place, hash)), || {
                format!(
                    "watcher {watcher} was sent {last} by control plane {there}, and then {place} by {plane}, not {:?}",
                    follows.get(&last).map(|(next, _)| next)
                )
            });
        }
    }
    verdict
}
