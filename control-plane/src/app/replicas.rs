//! This process among those that serve the same store: its beat, who was lost, who leads.
//!
//! A store in a file belongs to one process: it has no company, leads, and writes none of this.

mod age;
mod balance;
mod cut_off;
mod hold;
mod told;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use muster_common::{
    build_info,
    clock::Instant,
    ids::{NodeId, ReplicaId},
    reason::Reason,
};
use muster_domain::{
    audit::Note,
    event::{Happened, Kind},
    mass_loss::Away,
    replica::{Beats, LEADS_FOR, Replica, Silent},
};
use muster_store::{ReadReplicas, ReadTx, WriteReplicas as _, WriteTx};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;

use super::{
    App, Error, events,
    fleet::{Claim, Entry, Live},
};

/// Memory that is older than this does not show where nodes are.
pub const BLIND_AFTER: Duration = Duration::from_secs(5);

/// This process and the others.
pub struct Replicas {
    id: ReplicaId,
    is_shared: bool,
    state: Mutex<State>,
    /// It has taken leave of the others.
    has_left: Arc<AtomicBool>,
    /// Why this process has to end.
    over: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct State {
    beats: Beats,
    /// The last of ours that was stored, and when.
    beaten: Option<(u64, Instant)>,
    leads: bool,
    /// Others had it for lost: what it holds is still to be said again.
    must_hold: bool,
    /// As they were then.
    all: Vec<Replica>,
    /// The store could not be read when nodes were last looked at.
    is_blind: bool,
    /// Giving sessions away.
    giving: balance::Giving,
    /// Giving all away, from where the database cannot be reached.
    leaving: cut_off::Leaving,
}

/// What this process sees of the nodes that are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// Where they are.
    All,
    /// The same, again.
    AllAgain,
    /// Nothing: the store cannot be read. Nobody is said to be gone who may be elsewhere.
    Nothing,
}

/// Beats between two looks for nodes that are held by nobody who is.
const TIDY: u64 = 30;

/// What became of a beat.
enum Beaten {
    /// It is stored; these are there now.
    Stored(Vec<Replica>),
    /// The same, and others had said meanwhile that this process was lost.
    Again(Vec<Replica>),
    /// Another process has our name.
    Displaced,
    /// It was not stored: this process has taken leave.
    Left,
}

impl Replicas {
    /// A process that has not beaten yet. `is_shared`: others may serve the store, too.
    #[must_use]
    pub fn new(is_shared: bool) -> Self {
        let (state, over) = (Mutex::default(), watch::Sender::new(None));
        Self { id: ReplicaId::generate(), is_shared, state, has_left: Arc::default(), over }
    }

    /// This run of this process.
    #[must_use]
    pub const fn id(&self) -> ReplicaId {
        self.id
    }

    /// Whether others may serve the store, too.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Waits until this process cannot go on beside the others; answers why.
    pub async fn over(&self) -> String {
        let mut over = self.over.subscribe();
        // The sender lives in self: the waiting itself cannot fail.
        over.wait_for(Option::is_some).await.ok().and_then(|why| why.clone()).unwrap_or_default()
    }

    /// This process cannot go on.
    pub(super) fn end(&self, why: String) {
        self.over.send_replace(Some(why));
    }

    /// The revision that all of them have taken in.
    #[must_use]
    pub fn all_know(&self) -> u64 {
        self.state.lock().all.iter().map(|replica| replica.revision).min().unwrap_or(u64::MAX)
    }

    /// All of them, as they were at the last beat.
    #[must_use]
    pub fn all(&self) -> Vec<Replica> {
        self.state.lock().all.clone()
    }

    fn name_of(&self, id: ReplicaId) -> Option<String> {
        self.state.lock().all.iter().find(|replica| replica.id == id).map(|replica| replica.name.clone())
    }
}

impl App {
    /// Whether this process does what one of all does.
    #[must_use]
    pub fn leads(&self) -> bool {
        let (now, state) = (self.clock.monotonic(), self.replicas.state.lock());
        let is_fresh = state.beaten.is_some_and(|(_, at)| now - at < LEADS_FOR);
        !self.replicas.is_shared || state.leads && is_fresh
    }

    /// Which replica has a node's session, by name; among several.
    pub(super) fn holder_of(&self, entry: &Entry) -> Option<String> {
        let live = entry.live.as_deref().filter(|_| self.replicas.is_shared)?;
        live.replica.map_or_else(|| Some(self.fixed.replica.clone()), |id| self.replicas.name_of(id))
    }

    /// Whether this process sees where nodes are, if they are not here.
    pub(super) fn sees_others(&self) -> Sees {
        let is_blind = self.replicas.is_shared && self.behind_for() > BLIND_AFTER;
        match (std::mem::replace(&mut self.replicas.state.lock().is_blind, is_blind), is_blind) {
            (_, true) => Sees::Nothing,
            (true, false) => Sees::AllAgain,
            (false, false) => Sees::All,
        }
    }

    /// Says that this process lives, looks whether the others do, and leads if nobody does.
    ///
    /// # Errors
    /// If the store fails; `STATE_CONFLICT` if another process has the name of this one.
    pub async fn beat(&self) -> Result<(), Error> {
        if !self.replicas.is_shared {
            return Ok(());
        }
        let listed = |tx: &mut ReadTx<'_>| tx.replica_all().map_err(Error::from);
        // What the process reads for itself waits for the end of loading.
        let is_loaded = *self.feed.applied().borrow() > 0;
        let all: Vec<Replica> =
            if is_loaded { self.store.read_own(listed).await? } else { self.store.read(listed).await? };
        // By when it was begun: whatever happens before its answer comes is no time of a lease.
        let begun = self.clock.monotonic();
        let (ours, silent) = self.about_to_beat(&all, begun);
        // Who does not know what is there does not do the work of all.
        let may_lead = self.behind_for() <= BLIND_AFTER;
        let has_left = Arc::clone(&self.replicas.has_left);
        let write = self.store.write(self.own_stamp("replicas.beat"), move |tx| {
            // Asked when it is this write's turn: after that of `leave_replicas` it would be here anew.
            if has_left.load(Ordering::Relaxed) {
                return Ok(Beaten::Left);
            }
            beat(tx, &ours, &silent, may_lead)
        });
        match write.await?.value {
            Beaten::Left => return Ok(()),
            Beaten::Stored(all) => self.has_beaten(all, begun),
            Beaten::Again(all) => {
                self.has_beaten(all, begun);
                tracing::warn!("this replica may have been lost to others; it takes its nodes again");
                self.replicas.state.lock().must_hold = true;
            }
            Beaten::Displaced => {
                let name = &self.fixed.replica;
                let text =
                    format!("another process serves the store as replica {name:?}: give each its own name");
                self.replicas.end(text.clone());
                return Err(Error::refused(Reason::StateConflict, text));
            }
        }
        if self.replicas.state.lock().must_hold {
            self.hold_again().await?; // or at the next beat
            self.replicas.state.lock().must_hold = false;
        }
        self.balance();
        Ok(())
    }

    /// Takes leave of the others: nothing of this process is waited for.
    ///
    /// # Errors
    /// If the store fails; the others see then that it beats no more.
    pub async fn leave_replicas(&self) -> Result<(), Error> {
        if !self.replicas.is_shared {
            return Ok(());
        }
        let id = self.replicas.id;
        self.replicas.has_left.store(true, Ordering::Relaxed);
        let write = move |tx: &mut WriteTx<'_>| {
            if let Some(ours) = tx.replica_all()?.iter().find(|it| it.id == id) {
                events::tell(tx, turned(Kind::ReplicaLeft, ours, "takes its leave"))?;
            }
            tx.replica_end(id).map_err(Error::from)
        };
        self.store.write(self.own_stamp("replicas.leave"), write).await?;
        Ok(())
    }

    fn about_to_beat(&self, all: &[Replica], now: Instant) -> (Replica, Vec<Silent>) {
        let mut state = self.replicas.state.lock();
        if state.beaten.is_some_and(|(_, at)| now - at > LEADS_FOR) {
            state.beats.forget(); // what could not be seen is nobody's silence
        }
        let mut silent = state.beats.look(all, now);
        silent.retain(|it| it.id != self.replicas.id);
        let ours = Replica {
            name: self.fixed.replica.clone(),
            id: self.replicas.id,
            version: build_info::version().to_owned(),
            started_at: self.fixed.started,
            beat: state.beaten.map_or(0, |(beat, _)| beat) + 1,
            beat_at: self.clock.now(),
            addresses: self.fixed.session_addresses.clone(),
            sessions: self.hub.len() as u64,
            revision: *self.feed.applied().borrow(),
            leads: false,
        };
        (ours, silent)
    }

    fn has_beaten(&self, all: Vec<Replica>, now: Instant) {
        let mut state = self.replicas.state.lock();
        let Some(ours) = all.iter().find(|replica| replica.id == self.replicas.id) else { return };
        if ours.leads != state.leads {
            let name = &ours.name;
            let does = if ours.leads { "leads now" } else { "leads no more" };
            tracing::info!(replica = %name, "replica {name} {does}");
        }
        (state.leads, state.beaten) = (ours.leads, Some((ours.beat, now)));
        let gone = |former: &&Replica| !all.iter().any(|replica| replica.id == former.id);
        let gone = state.all.iter().find(gone).map(|former| former.name.clone());
        state.all = all;
        drop(state);
        if let Some(name) = gone {
            self.was_away(Away::Replica(name));
        }
    }

    /// Nodes whose sessions are here are this process's again, unless they are another's by now.
    async fn hold_again(&self) -> Result<(), Error> {
        if self.hub.is_empty() {
            return Ok(());
        }
        self.follow().await?;
        let mut held: Vec<NodeId> = Vec::new();
        self.hub.for_each(|session| held.push(session.node()));
        for node in held {
            self.fleet.with(node, |mut entry| {
                if entry.live.as_deref().is_some_and(Live::is_here) {
                    self.take_hold(&mut entry, Claim::Again);
                }
            });
        }
        Ok(())
    }
}

fn turned(kind: Kind, replica: &Replica, does: &str) -> Happened {
    let name = &replica.name;
    let what = Happened::new(kind, &format!("replica {name} {does}")).about(format!("replica/{name}"));
    what.with("version", &replica.version).with("sessions", replica.sessions)
}

fn beat(tx: &mut WriteTx<'_>, ours: &Replica, silent: &[Silent], may_lead: bool) -> Result<Beaten, Error> {
    let all: Vec<Replica> = tx.replica_all()?;
    let former = all.iter().find(|replica| replica.name == ours.name);
    let is_known = former.is_some_and(|former| former.id == ours.id);
    // A beat that is stored, and whose answer was lost, may have been the one that said so.
    let is_sure = former.is_some_and(|former| former.id == ours.id && former.beat < ours.beat);
    let is_first = ours.beat == 1;
    match former {
        Some(_) if !is_known && !is_first => return Ok(Beaten::Displaced),
        // A process of this name that was killed: its nodes come here, or elsewhere, in a moment.
        Some(former) if !is_known => tx.replica_end(former.id)?,
        _ => {}
    }
    for it in silent {
        let Some(lost) = all.iter().find(|replica| replica.id == it.id) else { continue };
        if tx.replica_lose(*it)? {
            let name = &lost.name;
            tracing::warn!(replica = %name, sessions = lost.sessions, "replica {name} is lost: it beats no more");
            tx.audit(Note {
                subject: format!("replica/{name}"),
                before: json!({ "sessions": lost.sessions, "leads": lost.leads }).to_string(),
                after: json!({ "lost": true }).to_string(),
                ..Note::default()
            })?;
            events::tell(tx, turned(Kind::ReplicaLost, lost, "is lost: it beats no more"))?;
        }
    }
    let mut all = tx.replica_all()?; // those who are left
    all.retain(|replica| replica.id != ours.id);
    let leads = may_lead && !all.iter().any(|replica| replica.leads);
    let ours = Replica { leads, ..ours.clone() };
    tx.replica_put(&ours)?;
    if !is_known {
        events::tell(tx, turned(Kind::ReplicaJoined, &ours, "serves the store"))?;
    }
    if leads && ours.beat.is_multiple_of(TIDY) {
        tx.replica_free_strays()?;
    }
    all.push(ours);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(if is_sure || is_first && !is_known { Beaten::Stored(all) } else { Beaten::Again(all) })
}
