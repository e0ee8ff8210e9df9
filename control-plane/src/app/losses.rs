//! Many nodes that are lost at once, told as one: `fleet.mass_loss` in the audit, and an event. Every
//! replica sees all losses, its own and those that others tell of; the one that leads writes. What nobody
//! has written, because the one that led is gone, the next one writes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use muster_common::{
    clock::{Instant, UnixMillis},
    ids::{NodeId, ReplicaId},
};
use muster_domain::{
    audit::{Filter, Note},
    event::{Happened, Kind, Many, SHOWN},
    labels::Labels,
    liveness::{self, State},
    mass_loss::{self, Away, Burst, Candidates, Cause, Common, Limits, Lost, Seen},
    replica::LEASE,
};
use muster_store::ReadAudit as _;
use parking_lot::Mutex;
use serde_json::json;

use super::{
    App, Error, events,
    fleet::{Entry, Holder},
};

/// Losses that are not told yet.
pub struct Losses(Mutex<Inner>);

struct Inner {
    losses: mass_loss::Losses,
    /// Left to the one that leads, and since when.
    left: Vec<(Burst, Instant)>,
    /// What kept this process from hearing nodes last.
    away: Away,
    /// Nodes that are late, as far as the last sweep knew: likely lost in a moment.
    late: usize,
    /// Nodes that are there and are not late.
    there: usize,
}

/// What the audit calls it.
const TOLD: &str = "fleet.mass_loss";
/// After this time whoever leads has told of what was left to it, or another one leads.
const LEFT_FOR: Duration = LEASE.saturating_mul(3);
/// Of those that were lost so many are named.
const NAMED: usize = 10;

impl Default for Losses {
    fn default() -> Self {
        let (losses, left) = (mass_loss::Losses::default(), Vec::new());
        Self(Mutex::new(Inner { losses, left, away: Away::Restarted, late: 0, there: 0 }))
    }
}

impl App {
    /// The control plane could not hear nodes for a while, and why.
    pub(super) fn was_away(&self, away: Away) {
        self.losses.0.lock().away = away;
    }

    /// A node is offline, which nobody had said; it was in this state before, as the rest of its entry tells.
    pub(super) fn lost(&self, entry: &Entry, was: State) {
        let after_away = was == State::Unknown && liveness::is_ours(&entry.node.liveness.reason);
        let lost = Lost { node: entry.node.id, replica: self.replica_of(entry.holder), after_away };
        let mut inner = self.losses.0.lock();
        inner.late -= usize::from(was == State::Late && inner.late > 0);
        inner.losses.add(lost, self.clock.monotonic());
    }

    /// So many nodes were found in each state.
    pub(super) fn counted(&self, counts: &BTreeMap<State, usize>) {
        let count = |states: &[State]| states.iter().filter_map(|state| counts.get(state)).sum::<usize>();
        let mut inner = self.losses.0.lock();
        inner.late = count(&[State::Late]);
        inner.there = count(&[State::Online, State::Unknown, State::Quarantined]);
    }

    /// Whether many are being lost: those that are lost by now, and those that are late. When the first of
    /// a cut is offline, all others are late, so this is known with the first.
    pub(super) fn is_mass_loss(&self) -> bool {
        let inner = self.losses.0.lock();
        let lost = inner.losses.count();
        lost > 0 && mass_loss::are_many(lost + inner.late, inner.there)
    }

    fn replica_of(&self, holder: Holder) -> Option<ReplicaId> {
        match holder {
            Holder::Nobody => None,
            Holder::Us => Some(self.replicas.id()),
            Holder::Other(id) => Some(id),
        }
    }

    /// Tells of losses that belong together, if they are over and many.
    ///
    /// # Errors
    /// If the store fails; they are told later then.
    pub async fn tell_losses(&self) -> Result<(), Error> {
        let limits = Limits::from_interval(self.fixed.session.heartbeat_interval);
        let (leads, now) = (self.leads(), self.clock.monotonic());
        if leads {
            self.take_up_left(now).await?;
        }
        let (burst, away) = {
            let mut inner = self.losses.0.lock();
            let over = inner.losses.over(now, limits);
            if !leads {
                inner.left.retain(|(_, since)| now.saturating_duration_since(*since) < LEFT_FOR);
                inner.left.extend(over.map(|burst| (burst, now)));
                return Ok(());
            }
            (over, inner.away.clone())
        };
        let Some(burst) = burst else { return Ok(()) };
        let (common, there) = self.in_common(&burst);
        if !burst.is_mass(there) {
            return Ok(());
        }
        let cause = match common {
            _ if burst.is_ours() => Cause::Ours(away),
            Some(common) => Cause::Theirs(common),
            None => Cause::Unknown,
        };
        let (note, stamp) = (note(&burst, there, &cause), self.own_stamp(TOLD));
        let (what, many) = event(&burst, there, &cause, stamp.at);
        let write = self.store.write(stamp, move |tx| {
            tx.audit(note.clone())?;
            events::tell_mass_loss(tx, what.clone(), many.clone())
        });
        let told = write.await;
        if let Err(error) = told {
            self.losses.0.lock().losses.put_back(burst);
            return Err(error);
        }
        let (lost, of, (kind, which)) = (burst.count, burst.count + there, cause.words());
        tracing::warn!(
            lost,
            of,
            cause = kind,
            which,
            "{lost} of {of} nodes were lost at once: {kind} {which}"
        );
        self.metrics.mass_loss();
        Ok(())
    }

    /// What was left to another one that led, and did not write it, is this one's to tell.
    async fn take_up_left(&self, now: Instant) -> Result<(), Error> {
        let Some((burst, since)) = self.losses.0.lock().left.pop() else { return Ok(()) };
        let begun = self.clock.now() - now.saturating_duration_since(burst.begun);
        let read = self.store.read_own(move |tx| {
            let filter = Filter { action_prefix: TOLD.to_owned(), since: Some(begun), ..Filter::default() };
            let Some((first, _)) = tx.audit_window(&filter)? else { return Ok::<_, Error>(false) };
            Ok(!tx.audit_after(first.saturating_sub(1), &filter, 1)?.is_empty())
        });
        let mut inner = match read.await {
            Ok(true) => return Ok(()),
            Ok(false) => self.losses.0.lock(),
            Err(error) => {
                self.losses.0.lock().left.push((burst, since));
                return Err(error);
            }
        };
        inner.losses.put_back(burst);
        Ok(())
    }

    /// What those that were lost have in common, and how many are still there.
    fn in_common(&self, burst: &Burst) -> (Option<Common>, usize) {
        let names: HashMap<ReplicaId, String> =
            self.replicas.all().into_iter().map(|replica| (replica.id, replica.name)).collect();
        let name = |id: Option<ReplicaId>| id.and_then(|id| names.get(&id)).map(String::as_str);
        let known = |lost: &Lost| {
            self.fleet.with(lost.node, |entry| (entry.node.labels.clone(), address(&entry), lost.replica))
        };
        let lost: Vec<(Labels, Option<IpAddr>, Option<ReplicaId>)> =
            burst.nodes.iter().filter_map(known).collect();
        let seen = lost.iter().map(|(labels, from, id)| Seen { labels, from: *from, replica: name(*id) });
        let mut candidates = Candidates::of(seen);
        let lost: HashSet<NodeId> = burst.nodes.iter().map(|lost| lost.node).collect();
        let mut there = 0;
        self.fleet.for_each(|entry| {
            let is_there = matches!(
                entry.tracker.state(),
                State::Online | State::Late | State::Unknown | State::Quarantined
            );
            if !is_there || lost.contains(&entry.node.id) {
                return;
            }
            there += 1;
            let id = self.replica_of(entry.holder);
            let labels = &entry.node.labels;
            candidates.there(Seen { labels, from: address(&entry), replica: name(id) });
        });
        (candidates.cause(burst.count), there)
    }
}

/// Where a node spoke from last.
fn address(entry: &Entry) -> Option<IpAddr> {
    let live = entry.live.as_ref().map(|live| live.remote.ip());
    live.or_else(|| entry.sightings.all().last().map(|seen| seen.remote))
}

/// What is told of it as an event.
fn event(burst: &Burst, there: usize, cause: &Cause, now: UnixMillis) -> (Happened, Many) {
    let (lost, of, (kind, which)) = (burst.count, burst.count + there, cause.words());
    let message = format!("{lost} of {of} nodes were lost at once: {kind} {which}");
    let what = Happened::new(Kind::FleetMassLoss, message.trim_end())
        .for_reason(kind)
        .with("which", which)
        .with("lost", lost)
        .with("of", of);
    let nodes = burst.nodes.iter().take(SHOWN).map(|lost| lost.node).collect();
    (what, Many { count: lost as u64, nodes, until: now })
}

fn note(burst: &Burst, there: usize, cause: &Cause) -> Note {
    let (lost, of, (kind, which)) = (burst.count, burst.count + there, cause.words());
    let named: Vec<String> = burst.nodes.iter().take(NAMED).map(|lost| lost.node.to_string()).collect();
    let after = json!({
        "lost": lost,
        "of": of,
        "percent": lost * 100 / of.max(1),
        "cause": kind,
        "which": which,
        "within_ms": u64::try_from((burst.last - burst.begun).as_millis()).unwrap_or(u64::MAX),
        "nodes": named,
    });
    Note { subject: "fleet".to_owned(), after: after.to_string(), ..Note::default() }
}
