//! What is on record: the audit, and what had no answer.

use std::collections::{HashMap, HashSet};

use super::Verdict;
use crate::history::{Entry, History, Outcome, What};

/// Every acknowledged change is on record once, and the chains hold.
pub(super) fn i9(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I9", "each change is on record once, and the chains hold");
    let mut count: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for entry in history.entries() {
        *count.entry((entry.key.as_str(), entry.value.as_deref())).or_default() += 1;
    }
    for (_, write) in history.writes().filter(|(_, write)| write.outcome == Outcome::Acknowledged) {
        let found = count.get(&(write.key.as_str(), Some(write.value.as_str()))).copied().unwrap_or(0);
        verdict.fact(found == 1, || {
            format!("{} = {:?} was acknowledged and is {found} times on record", write.key, write.value)
        });
    }
    for (_, order) in history.orders().filter(|(_, order)| order.outcome == Outcome::Acknowledged) {
        let key = format!("operation/{}", order.operation);
        let found = history.entries().filter(|entry| entry.key == key).count();
        verdict.fact(found >= 1, || format!("{key} was acknowledged and is not on record"));
    }
    chains(history, &mut verdict);
    let said = |what| if let &What::Chains { hold, ref said } = what { Some((hold, said)) } else { None };
    for (_, (hold, said)) in history.of(said) {
        verdict.fact(hold, || format!("the audit's own check says: {said}"));
    }
    verdict
}

/// Each entry follows the one before in its chain.
fn chains(history: &History, verdict: &mut Verdict) {
    let mut ends: HashMap<&str, &Entry> = HashMap::new();
    for entry in history.entries() {
        if let Some(before) = ends.insert(&entry.replica, entry) {
            let follows = entry.seq == before.seq + 1 && entry.previous == before.hash;
            verdict.fact(follows, || {
                format!("entry {} of chain {} does not follow the one before", entry.seq, entry.replica)
            });
        }
    }
}

/// What had no answer was done whole, or not at all, and never twice.
pub(super) fn i12(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I12", "what had no answer was done once and whole, or not at all");
    let written: HashSet<(&str, &str)> =
        history.writes().map(|(_, write)| (write.key.as_str(), write.value.as_str())).collect();
    let keys: HashSet<&str> = written.iter().map(|(key, _)| *key).collect();
    let mut count: HashMap<(&str, &str), usize> = HashMap::new();
    for entry in history.entries().filter(|entry| keys.contains(entry.key.as_str())) {
        let Some(value) = entry.value.as_deref() else { continue };
        *count.entry((entry.key.as_str(), value)).or_default() += 1;
        // What a key begins with was written before the history began.
        let is_first =
            entry.before.as_deref().is_none_or(|before| !written.contains(&(entry.key.as_str(), before)));
        verdict.fact(written.contains(&(entry.key.as_str(), value)) || is_first, || {
            format!("{} became {value:?}, which nobody wrote whole", entry.key)
        });
    }
    for (_, write) in history.writes().filter(|(_, write)| write.outcome == Outcome::Unknown) {
        let found = count.get(&(write.key.as_str(), write.value.as_str())).copied().unwrap_or(0);
        verdict.fact(found <= 1, || {
            format!("{} = {:?} had no answer and was done {found} times", write.key, write.value)
        });
    }
    orders(history, &mut verdict);
    verdict
}

/// A request makes one operation, however often it was sent, for all of its nodes.
fn orders(history: &History, verdict: &mut Verdict) {
    let mut found: HashMap<&str, Vec<(&str, usize)>> = HashMap::new();
    for (request, operation, commands) in history.made() {
        found.entry(request).or_default().push((operation, commands));
    }
    for (_, order) in history.orders() {
        let made = found.get(order.request.as_str()).map_or(&[][..], Vec::as_slice);
        let fits = match order.outcome {
            Outcome::Acknowledged => made.len() == 1,
            Outcome::Refused => made.is_empty(),
            Outcome::Unknown => made.len() <= 1,
        };
        verdict.fact(fits, || {
            format!("{} is {:?} and has made {} operations", order.request, order.outcome, made.len())
        });
        for (operation, commands) in made {
            verdict.fact(*commands == order.nodes, || {
                format!("{operation} has {commands} commands for {} nodes", order.nodes)
            });
        }
    }
}
