//! Whether the preconditions of an operation hold of a node at the moment of a write.

use muster_common::ids::NodeId;
use muster_domain::{
    labels::Groups,
    node::Node,
    operation::{Preconditions, Spoken},
};
use muster_store::WriteTx;
use parking_lot::MutexGuard;

use crate::app::{
    App, Error,
    fleet::{Entry, Live},
    selectors,
    written::Written,
};

/// What becomes of an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go out.
    Goes,
    /// It cannot be told now: the node is away, or has not said yet what it is.
    Later,
    /// It does not go out: this does not hold.
    Unmet(String),
}

/// Asks memory, and the store about what memory does not know yet.
pub(super) struct Judge<'a> {
    app: &'a App,
    /// How far memory was before it is asked.
    known: u64,
    seen: Option<(Written, Groups)>,
}

impl<'a> Judge<'a> {
    pub(super) const fn new(app: &'a App, known: u64) -> Self {
        Self { app, known, seen: None }
    }

    pub(super) fn judge(
        &mut self,
        tx: &mut WriteTx<'_>,
        asked: &Preconditions,
        node: NodeId,
    ) -> Result<Verdict, Error> {
        if asked.is_none() {
            return Ok(Verdict::Goes);
        }
        let (written, groups) = match self.seen.take() {
            Some(seen) => seen,
            None => (Written::since(tx, self.known)?, selectors::groups(tx)?),
        };
        let verdict = match written.get(node) {
            Some(None) => Verdict::Later, // it was removed: its orders end with it
            Some(Some(stored)) => self.of(asked, node, Some(stored), &groups),
            None => self.of(asked, node, None, &groups),
        };
        self.seen = Some((written, groups));
        Ok(verdict)
    }

    fn of(&self, asked: &Preconditions, id: NodeId, stored: Option<&Node>, groups: &Groups) -> Verdict {
        let look = |entry: MutexGuard<'_, Entry>| {
            let live = entry.live.as_ref()?;
            if live.facts_due && !asked.selector.is_empty() {
                return None;
            }
            Some(asked.unmet(stored.unwrap_or(&entry.node), Some(spoken(live)), groups))
        };
        match self.app.fleet.with(id, look).flatten() {
            Some(None) => Verdict::Goes,
            Some(Some(unmet)) => Verdict::Unmet(unmet),
            None => Verdict::Later,
        }
    }
}

/// What a session tells of its node.
pub(in crate::app) fn spoken(live: &Live) -> Spoken<'_> {
    Spoken { agent_version: &live.agent_version, capabilities: &live.capabilities }
}
