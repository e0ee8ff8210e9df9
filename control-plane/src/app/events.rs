//! Events: written down with what makes them, in the same write; read, and watched.
//!
//! What people and the control plane do is told one by one: each is a write of its own anyway. What
//! nodes report and ask for is told so only as far as [`Rates`] admit it; the rest is one event of many, which
//! grows while it goes on. So a whole fleet that goes, comes back or takes up a change makes some
//! rows, not as many as it has nodes.

mod away;
mod ends;
mod noted;
mod reading;
mod watching;

use std::collections::{BTreeMap, BTreeSet};

use muster_common::ids::EventId;
use muster_domain::{
    event::{AT_ONCE, Event, Group, Happened, Kind, Many, Rates, groups},
    liveness,
};
use muster_store::{ReadEvents as _, WriteEvents as _, WriteTx};
use parking_lot::Mutex;

pub(super) use ends::{Ends, operation_over};
pub use noted::Noted;
pub use reading::{Asked, key_of};
pub use watching::{News, Seen};

use super::{App, Error};

/// What is to be told, and what was told lately.
#[derive(Default)]
pub struct Events {
    rates: Mutex<Rates>,
    away: Mutex<away::Away>,
}

/// What a node did, and whether it is told by itself.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    what: Happened,
    alone: bool,
}

impl From<Happened> for Telling {
    fn from(what: Happened) -> Self {
        Self { what, alone: false }
    }
}

impl App {
    /// Decides which of these are told one by one.
    pub(super) fn share<'a>(&self, all: impl Iterator<Item = &'a mut Telling>) {
        let mut all: Vec<&mut Telling> = all.collect();
        if all.is_empty() {
            return;
        }
        if self.is_mass_loss() {
            all.iter_mut().filter(|it| is_loss(&it.what)).for_each(|it| it.what = of_mass(it.what.clone()));
        }
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for telling in &all {
            *counts.entry(telling.what.kind).or_default() += 1;
        }
        let (mut rates, now) = (self.events.rates.lock(), self.clock.monotonic());
        let is_few = |(kind, count): (Kind, usize)| {
            (kind != Kind::FleetMassLoss && rates.admits(kind, count, now)).then_some(kind)
        };
        let few: BTreeSet<Kind> = counts.into_iter().filter_map(is_few).collect();
        for telling in &mut all {
            telling.alone = few.contains(&telling.what.kind);
            let what = &telling.what;
            if !telling.alone && !rates.has_own(what.kind, &what.subject, &what.reason, now) {
                let (subject, reason) = (String::new(), String::new());
                telling.what = Happened { subject, reason, ..telling.what.clone() };
            }
        }
    }

    /// Writes down what a node did in a write of its own, by itself or as part of what many did.
    pub(super) fn tell_bounded(&self, tx: &mut WriteTx<'_>, what: Happened) -> Result<(), Error> {
        let mut one = [Telling::from(what)];
        self.share(one.iter_mut());
        tell_shared(tx, one.iter())
    }
}

/// Writes down what happened to some nodes in one write: to few one by one, to more as one of many.
pub(super) fn tell_all(tx: &mut WriteTx<'_>, all: Vec<Happened>) -> Result<(), Error> {
    let alone = all.len() < AT_ONCE;
    let all: Vec<Telling> = all.into_iter().map(|what| Telling { what, alone }).collect();
    tell_shared(tx, all.iter())
}

/// Writes an event down, with the write that makes it.
pub(super) fn tell(tx: &mut WriteTx<'_>, what: Happened) -> Result<(), Error> {
    let event = what.event(EventId::generate(), tx.stamp());
    Ok(tx.event_put(&event)?)
}

/// Writes down what nodes did: each by itself, or as part of what many did.
pub(super) fn tell_shared<'a>(
    tx: &mut WriteTx<'_>,
    all: impl Iterator<Item = &'a Telling>,
) -> Result<(), Error> {
    let (alone, together): (Vec<&Telling>, Vec<&Telling>) = all.partition(|it| it.alone);
    for one in alone {
        tell(tx, one.what.clone())?;
    }
    let now = tx.stamp().at;
    groups(together.into_iter().map(|it| it.what.clone()).collect(), now)
        .into_iter()
        .try_for_each(|group| tell_group(tx, group))
}

/// One event of many, or more of one that goes on.
fn tell_group(tx: &mut WriteTx<'_>, group: Group) -> Result<(), Error> {
    let now = tx.stamp().at;
    let newest = tx.event_newest_of_many(group.kind, &group.subject, &group.reason)?;
    let event = match newest.filter(|it| it.takes_in(now)) {
        Some(open) => open.with(group),
        None => group.begun(EventId::generate()),
    };
    Ok(tx.event_put(&event)?)
}

/// A mass loss is over: how many were lost, and why. It takes the place of what was told while it
/// went on.
pub(super) fn tell_mass_loss(tx: &mut WriteTx<'_>, what: Happened, many: Many) -> Result<(), Error> {
    let now = tx.stamp().at;
    let newest = tx.event_newest_of_many(Kind::FleetMassLoss, "", "")?;
    let told = what.event(EventId::generate(), tx.stamp());
    let event = match newest.filter(|it| it.takes_in(now)) {
        Some(open) => {
            let before = open.many.map_or(0, |many| many.count);
            let many = Many { count: many.count.max(before), ..many };
            Event { id: open.id, at: open.at, many: Some(many), ..told }
        }
        None => Event { many: Some(many), ..told },
    };
    Ok(tx.event_put(&event)?)
}

/// Whether a node is offline that had not said so before.
fn is_loss(what: &Happened) -> bool {
    what.kind == Kind::NodeOffline && liveness::is_lost(&what.reason)
}

/// One of those that were lost together: why each of them is does not matter then.
fn of_mass(what: Happened) -> Happened {
    let kind = Kind::FleetMassLoss;
    Happened { kind, severity: kind.severity(), reason: String::new(), ..what }
}
