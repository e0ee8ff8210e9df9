//! What was accepted can be read, and stands in one order.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{BUSY, Places, Verdict, ways::Ways};
use crate::history::{History, Outcome, Write};

/// In which a control plane shows what another one acknowledged.
const LAG: Duration = BUSY;

/// What a control plane acknowledged before a reading began is there in it, or something newer is; and
/// nobody reads what nobody has written yet.
pub(super) fn i1(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I1", "what was acknowledged is read by all who ask after that");
    let places = Places::of(history);
    let acknowledged = acknowledged(history, &places);
    let sent: HashMap<(&str, &str), Duration> = history
        .writes()
        .map(|(_, write)| ((write.key.as_str(), write.value.as_str()), write.begun))
        .collect();
    let mut seen: HashMap<(usize, &str), Vec<(Duration, u64)>> = HashMap::new();
    for (at, read) in history.reads() {
        let key = read.key.as_str();
        let Some(place) = places.get(key, &read.value) else {
            verdict.fact(false, || format!("{key} was read as {:?}, which was never committed", read.value));
            continue;
        };
        let least = newest(acknowledged.get(&(read.plane, key)), read.begun);
        verdict.fact(least.is_none_or(|least| least <= place), || {
            format!("{key} was read as {:?} at {:?}, after something newer was acknowledged", read.value, at)
        });
        verdict.fact(sent.get(&(key, read.value.as_str())).is_none_or(|sent| *sent <= at), || {
            format!("{key} was read as {:?} at {at:?}, before it was written", read.value)
        });
        let before = seen.entry((read.plane, key)).or_default();
        verdict.fact(newest(Some(before), read.begun).is_none_or(|least| least <= place), || {
            format!("{key} was read as {:?} at {at:?}, and something newer before", read.value)
        });
        before.push((at, place));
    }
    verdict
}

/// What was acknowledged by any other control plane is there soon.
pub(super) fn i1_elsewhere(history: &History) -> Verdict {
    let mut verdict =
        Verdict::new("I1 elsewhere", "and three seconds later of whichever control plane they ask");
    let (places, ways) = (Places::of(history), Ways::of(history));
    let acknowledged = acknowledged(history, &places);
    for (at, read) in history.reads() {
        let known = ways.known(read.plane, read.begun, LAG);
        let others = (0..history.planes).filter(|plane| *plane != read.plane);
        let of = |plane| newest(acknowledged.get(&(plane, read.key.as_str())), known);
        // What was never committed breaks the first invariant.
        let (Some(least), Some(place)) = (others.filter_map(of).max(), places.get(&read.key, &read.value))
        else {
            continue;
        };
        verdict.fact(least <= place, || {
            format!(
                "{} was read of control plane {} as {:?} at {at:?}, after another one had acknowledged something newer",
                read.key, read.plane, read.value
            )
        });
    }
    verdict
}

/// By control plane and key: when something was acknowledged, and its place.
fn acknowledged<'a>(
    history: &'a History,
    places: &Places<'_>,
) -> HashMap<(usize, &'a str), Vec<(Duration, u64)>> {
    let mut found: HashMap<(usize, &str), Vec<(Duration, u64)>> = HashMap::new();
    for (at, write) in history.writes().filter(|(_, write)| write.outcome == Outcome::Acknowledged) {
        if let Some(place) = places.get(&write.key, &write.value) {
            found.entry((write.plane, &write.key)).or_default().push((at, place));
        }
    }
    found
}

/// The newest place that was known at a time.
fn newest(known: Option<&Vec<(Duration, u64)>>, at: Duration) -> Option<u64> {
    known?.iter().filter(|(when, _)| *when <= at).map(|(_, place)| *place).max()
}

/// Commits stand in one order that is also that of time; what was refused is nowhere, and what
/// was to come in the place of one value alone has come in its place.
pub(super) fn i2(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I2", "commits have one order, and losers of a race never appear");
    let mut before = 0;
    for entry in history.entries() {
        verdict.fact(before < entry.place, || format!("place {} comes after {before}", entry.place));
        before = entry.place;
    }
    let places = Places::of(history);
    in_time(history, &places, &mut verdict);
    let read: HashSet<(&str, &str)> =
        history.reads().map(|(_, read)| (read.key.as_str(), read.value.as_str())).collect();
    for (_, write) in history.writes().filter(|(_, write)| write.outcome == Outcome::Refused) {
        verdict.fact(places.get(&write.key, &write.value).is_none(), || {
            format!("{} became {:?}, which was refused", write.key, write.value)
        });
        verdict.fact(!read.contains(&(write.key.as_str(), write.value.as_str())), || {
            format!("{} was read as {:?}, which was refused", write.key, write.value)
        });
    }
    let raced: HashMap<(&str, &str), &Write> = history
        .writes()
        .filter(|(_, write)| write.over.is_some())
        .map(|(_, write)| ((write.key.as_str(), write.value.as_str()), write))
        .collect();
    for entry in history.entries() {
        let Some(value) = entry.value.as_deref() else { continue };
        if let Some(write) = raced.get(&(entry.key.as_str(), value)) {
            verdict.fact(entry.before == write.over, || {
                format!(
                    "{} became {value:?} in the place of {:?}, not of {:?}",
                    write.key, entry.before, write.over
                )
            });
        }
    }
    verdict
}

/// What was answered before something else was sent comes before it.
fn in_time(history: &History, places: &Places<'_>, verdict: &mut Verdict) {
    let mut answered: Vec<(Duration, u64)> = Vec::new();
    let mut sent: Vec<(Duration, u64, &Write)> = Vec::new();
    for (at, write) in history.writes() {
        let Some(place) = places.get(&write.key, &write.value) else { continue };
        sent.push((write.begun, place, write));
        if write.outcome == Outcome::Acknowledged {
            answered.push((at, place));
        }
    }
    answered.sort_unstable();
    sent.sort_unstable_by_key(|(begun, ..)| *begun);
    let (mut next, mut newest) = (answered.into_iter().peekable(), 0);
    for (begun, place, write) in sent {
        while let Some((_, before)) = next.next_if(|(at, _)| *at <= begun) {
            newest = newest.max(before);
        }
        verdict.fact(newest < place, || {
            format!(
                "{} = {:?} is committed at {place}, before {newest}, which was answered before it was sent",
                write.key, write.value
            )
        });
    }
}
