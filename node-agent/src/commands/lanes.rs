//! Which order starts next. Pure.
//!
//! Orders of one lane start in the order of their ids, one at a time: each holds
//! back those after it until it has ended, also while it waits for its time.
//! Orders of different lanes, and those without one, run side by side in the slots.
//! An exclusive order starts when nothing else runs, and nothing starts beside it
//! or overtakes it once its time has come.

use std::collections::HashSet;

use muster_common::{clock::UnixMillis, ids::CommandId};

use super::{SLOTS, guard};
use crate::state::Ticket;

/// Kinds that cut off whatever runs beside them. Not `restart-agent`: an agent can be
/// started anew also while something hangs.
const EXCLUSIVE: &[&str] = &["disconnect", "reboot"];

/// An order that has not ended, as far as it matters for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    kind: &'a str,
    lane: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(ticket: &'a Ticket) -> Self {
        Self { kind: &ticket.kind, lane: &ticket.lane }
    }

    fn is_exclusive(self) -> bool {
        EXCLUSIVE.contains(&self.kind)
    }
}

/// The order that is to be started, or to be told that its time is over. `waiting`:
/// in the order of their ids, and whether each may start at all now.
pub(super) fn next<'a>(
    waiting: impl Iterator<Item = (&'a Ticket, bool)> + Clone,
    running: &[Place<'_>],
    now: Option<UnixMillis>,
) -> Option<CommandId> {
    let over = |ticket: &Ticket| guard::is_over(ticket, now);
    // What would be refused needs no slot, and waits for nobody.
    if let Some((ticket, _)) = waiting.clone().find(|(ticket, may)| *may && over(ticket)) {
        return Some(ticket.id);
    }
    if running.len() >= SLOTS || running.iter().any(|place| place.is_exclusive()) {
        return None;
    }
    let mut held: HashSet<&str> = running.iter().map(|place| place.lane).collect();
    for (ticket, may) in waiting {
        let place = Place::of(ticket);
        if !place.lane.is_empty() && !held.insert(place.lane) {
            continue; // another of its lane comes first
        }
        if !may || !guard::is_due(ticket, now) {
            continue;
        }
        if place.is_exclusive() && !running.is_empty() {
            return None;
        }
        return Some(ticket.id);
    }
    None
}

#[cfg(test)]
mod tests;
