//! What must hold of every history, one function for each invariant. Pure: the same history is
//! judged the same again. Each says how many facts it has looked at: an invariant of which
//! nothing was seen is not shown, whatever else went well.

mod config;
mod hosts;
mod identities;
mod orders;
mod record;
#[cfg(test)]
mod tests;
mod watches;
mod ways;

use std::{collections::HashMap, time::Duration};

pub use hosts::troubled_until;
pub use identities::i10_elsewhere;

use super::History;

/// What a busy machine may add to any time.
const BUSY: Duration = Duration::from_secs(3);

/// What an invariant says of a history.
#[derive(Debug)]
pub struct Verdict {
    /// Its short name.
    pub name: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// Facts that could have broken it.
    pub looked_at: usize,
    /// What did.
    pub broken: Vec<String>,
}

/// What each invariant says; if there are several control planes, also what must hold between them.
#[must_use]
pub fn judge(history: &History) -> Vec<Verdict> {
    let mut verdicts = vec![
        config::i1(history),
        config::i2(history),
        hosts::i3(history),
        hosts::i4(history),
        orders::i5(history),
        orders::i6(history),
        orders::i7(history),
        orders::i8(history),
        record::i9(history),
        identities::i10(history),
        watches::i11(history),
        record::i12(history),
        hosts::liveness(history),
    ];
    if history.planes > 1 {
        verdicts.extend([
            config::i1_elsewhere(history),
            identities::i10_elsewhere(history),
            watches::i11_elsewhere(history),
        ]);
    }
    verdicts
}

impl Verdict {
    const fn new(name: &'static str, promise: &'static str) -> Self {
        Self { name, promise, looked_at: 0, broken: Vec::new() }
    }

    /// A fact that holds, or breaks the promise in this way.
    fn fact(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.looked_at += 1;
        if !holds {
            self.broken.push(otherwise());
        }
    }
}

/// Where the audit has each value: the order of commits is the order of everything.
struct Places<'a>(HashMap<(&'a str, &'a str), u64>);

impl<'a> Places<'a> {
    fn of(history: &'a History) -> Self {
        let mut places = HashMap::new();
        for entry in history.entries() {
            // What was there before all that is on record.
            if let Some(before) = entry.before.as_deref() {
                places.entry((entry.key.as_str(), before)).or_insert(0);
            }
            if let Some(value) = entry.value.as_deref() {
                places.insert((entry.key.as_str(), value), entry.place);
            }
        }
        Self(places)
    }

    fn get(&self, key: &str, value: &str) -> Option<u64> {
        self.0.get(&(key, value)).copied()
    }
}
