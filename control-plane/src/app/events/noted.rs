//! What happened to a node, noted in memory until its news are written down: in the same write.

use muster_common::ids::InstanceId;
use muster_domain::{
    event::{Happened, Kind, hearing, of_hearing, of_item},
    item::ItemState,
    liveness::{Liveness, State},
    node::Node,
};

use crate::app::fleet::{Dirty, Entry};

/// So much may wait of one node: whoever reports more while the store takes nothing makes noise.
const ROOM: usize = 32;

/// What happened. Small where it may happen to a whole fleet at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It went from one state of hearing to another.
    Heard {
        /// From this one.
        was: State,
        /// To this one.
        is: Liveness,
    },
    /// Something else.
    Other(Box<Happened>),
}

impl Noted {
    /// Whether it goes with what the node says of its items.
    #[must_use]
    pub fn is_of_items(&self) -> bool {
        matches!(self, Self::Other(it) if it.kind.is_of_items())
    }

    /// As it is told.
    #[must_use]
    pub fn happened(&self, node: &Node) -> Option<Happened> {
        match self {
            Self::Heard { was, is } => of_hearing(node.id, &node.display_name, *was, is),
            Self::Other(happened) => Some(Happened::clone(happened)),
        }
    }
}

impl Dirty {
    /// Notes what happened, to be written with the rest.
    pub fn note(&mut self, noted: Noted) {
        if self.noted.len() < ROOM {
            self.noted.reserve_exact(1);
            self.noted.push(noted);
        }
    }
}

impl Entry {
    /// It went from a state of hearing to the one that it is in.
    pub(in crate::app) fn note_hearing(&mut self, was: State) {
        if hearing(was, self.node.liveness.state).is_some() {
            let is = self.node.liveness.clone();
            self.dirty.note(Noted::Heard { was, is });
        }
    }

    /// It says something else of an item than before; after which nothing of it may be left.
    pub(in crate::app) fn note_item(&mut self, before: Option<&ItemState>, after: Option<&ItemState>) {
        for what in of_item(self.node.id, &self.node.display_name, before, after) {
            self.dirty.note(Noted::Other(Box::new(what)));
        }
    }

    /// A session takes the place of one that had not ended, if there is one here: of the same
    /// process, whose connection broke unseen, or of another one.
    pub(in crate::app) fn note_replaced(&mut self, instance: InstanceId) {
        let Some(former) = self.live.as_deref().filter(|live| live.is_here()) else { return };
        let (is_same, from) = (former.instance == instance, former.remote.ip());
        let name = &self.node.display_name;
        let by = if is_same { "the same process" } else { "another process" };
        let message = format!("{name} came anew, as {by}, while its session was open");
        let what = Happened::new(Kind::NodeSessionReplaced, &message)
            .to(self.node.id)
            .for_reason(if is_same { "SameProcess" } else { "OtherProcess" })
            .with("former_address", from);
        self.dirty.note(Noted::Other(Box::new(what)));
    }
}
