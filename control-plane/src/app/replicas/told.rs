//! What a node tells another replica, taken into the memory of this one.

use std::collections::HashMap;

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    liveness::{self, Liveness, State, Tracker},
    node::Node,
    session::HeldBy,
};
use muster_store::{ReadMeta as _, ReadNodeSessions as _, ReadNodes as _};
use parking_lot::MutexGuard;

use crate::{
    app::{
        App, Error,
        fleet::{Entry, Holder, Live},
    },
    session::{
        frames::{Load, Refusal},
        ports::End,
    },
};

impl App {
    /// Takes in what nodes told other replicas at the revisions after `from`, up to `upto`.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::app) async fn take_in_told(&self, from: u64, upto: u64) -> Result<(), Error> {
        let read = self.store.read_own(move |tx| {
            let (nodes, held) = (tx.node_told(from, upto)?, tx.node_session_told(from, upto)?);
            Ok::<_, Error>((tx.revision()?, nodes, held))
        });
        let (as_of, nodes, held) = read.await?;
        let mut held: HashMap<NodeId, HeldBy> = held.into_iter().collect();
        for node in nodes.into_iter().map(|node| self.fleet.packed(node)) {
            let held = held.remove(&node.id);
            self.told(node, held, as_of);
        }
        Ok(())
    }

    /// Looks again at nodes that another replica took while this one was about to write of them.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::app) async fn look_again(&self, ids: Vec<NodeId>) -> Result<(), Error> {
        let read = self.store.read_own(move |tx| {
            let mut found = Vec::new();
            for id in ids {
                found.extend(tx.node_get(id)?.map(|node| (node, tx.node_session_get(id))));
            }
            Ok::<_, Error>((tx.revision()?, found))
        });
        let (as_of, found) = read.await?;
        for (node, held) in found {
            let (id, held) = (node.id, held?);
            self.fleet.with(id, |mut entry| entry.held_since = entry.held_since.or(Some(0)));
            self.told(self.fleet.packed(node), held, as_of);
        }
        Ok(())
    }

    fn told(&self, node: Node, held: Option<HeldBy>, as_of: u64) {
        let id = node.id;
        let is_ours = held.as_ref().is_some_and(|held| held.replica == self.replicas.id());
        let ended = self.fleet.with(id, |mut entry| {
            // What we let go is still ours there until our word is stored.
            if as_of < entry.told_as_of || is_ours {
                return false;
            }
            if entry.holder == Holder::Us {
                // That nobody holds it does not count: whoever lost it to nobody takes it again.
                let Some(by) = &held else { return false };
                let Some(since) = entry.held_since else {
                    tracing::debug!(node = %id, replica = %by.replica, "node {id} is taken by two");
                    entry.is_disputed = true;
                    return false;
                };
                if as_of <= since {
                    return false;
                }
            }
            entry.told_as_of = as_of;
            let was_ours = entry.holder == Holder::Us;
            self.take_told(&mut entry, node, held);
            was_ours
        });
        match (ended, self.hub.get(id)) {
            (Some(true), Some(session)) => {
                let text = "the node has a session with another replica";
                session.end(End::Refuse(Refusal::new(Reason::Fenced, text)));
            }
            _ => self.rollouts.hint(),
        }
    }

    fn take_told(&self, entry: &mut MutexGuard<'_, Entry>, node: Node, held: Option<HeldBy>) {
        let liveness = node.liveness.clone();
        let was_there = matches!(entry.tracker.state(), State::Online | State::Late | State::Unknown);
        if was_there && liveness.state == State::Offline && liveness::is_lost(&liveness.reason) {
            self.lost(entry, entry.tracker.state());
        }
        self.fleet.take_told(entry, node, self.clock.now());
        entry.held_since = None;
        let Some(held) = held else {
            entry.holder = Holder::Nobody;
            entry.live = None;
            self.found(entry, &liveness);
            return;
        };
        self.is_held(entry, held, liveness.state);
    }

    /// Another replica holds a node, whose state is what that one stored.
    pub(in crate::app) fn is_held(&self, entry: &mut MutexGuard<'_, Entry>, held: HeldBy, state: State) {
        entry.holder = Holder::Other(held.replica);
        entry.tracker = Tracker::told(state);
        // What was heard here before is not when it was last heard.
        (entry.last_heard, entry.load) = (None, Load::default());
        let Some(session) = held.session else {
            entry.live = None; // it is waited for
            return;
        };
        if entry.live.as_ref().is_none_or(|live| live.session != session.id) {
            let machine = entry.node.machine_fingerprint;
            // Whoever holds it says so if that is strange.
            let _ = entry.sightings.look(session.sighting.clone(), &machine);
        }
        entry.conditions.clone_from(&session.conditions);
        let capabilities = self.fleet.capabilities(&session.capabilities);
        entry.live = Some(Box::new(Live::elsewhere(held.replica, session, capabilities)));
    }

    /// A node that nobody holds, as the store knows it: of one that was there nobody knows now
    /// whether it is. That is not stored: whoever looks sees the same.
    pub(in crate::app) fn found(&self, entry: &mut MutexGuard<'_, Entry>, stored: &Liveness) {
        entry.tracker = Tracker::restored(stored.state, self.clock.monotonic());
        let state = entry.tracker.state();
        entry.node.liveness = stored.clone();
        if state != stored.state {
            let since = self.clock.now();
            entry.node.liveness = Liveness { state, since, reason: liveness::AWAY.into() };
        }
    }
}
