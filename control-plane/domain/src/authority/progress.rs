//! How far the fleet is with the moves that are under way, and who would be lost by the next one.

use muster_common::ids::NodeId;

use super::{Authority, Slot, Standing};
use crate::{access::Caller, liveness::State, node::Node};

/// Names in a refusal; the rest is a number.
const NAMED: usize = 10;
/// Of some nodes so many are known; the rest is a number.
pub const KEPT: usize = 100;

/// How far the fleet is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Whether a node can recover that holds nothing else any more.
    pub recovers: bool,
    /// Nodes that are connected and free.
    pub live: usize,
    /// Those of them that have not acknowledged the newest trust bundle.
    pub unacknowledged: Nodes,
    /// Who holds certificates of the previous slot.
    pub on_previous: Holders,
    /// Who holds certificates of the next slot.
    pub on_next: Holders,
}

/// Who holds certificates of a slot: they are lost when it is trusted no more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holders {
    /// Nodes that are connected and free: they renew by themselves.
    pub live: Nodes,
    /// Nodes that are not connected, or in quarantine: they will have to recover.
    pub absent: Nodes,
    /// Operators and services: people renew them.
    pub callers: Vec<String>,
}

/// Some nodes, of which there may be a million.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    /// How many.
    pub count: usize,
    /// The first of them, [`KEPT`] at most.
    pub first: Vec<NodeId>,
}

impl Progress {
    /// Without any node yet.
    #[must_use]
    pub fn begin(authority: &Authority, callers: &[Caller], recovers: bool) -> Self {
        let of = |standing| {
            let slot = authority.at(standing).map(|slot| slot.number);
            let callers = callers.iter().filter(|caller| slot == Some(caller.issuer));
            let callers = callers.map(|caller| caller.principal.clone()).collect();
            Holders { callers, ..Holders::default() }
        };
        let (on_previous, on_next) = (of(Standing::Previous), of(Standing::Next));
        Self { recovers, on_previous, on_next, ..Self::default() }
    }

    /// One node more, which is in this state.
    pub fn count(&mut self, authority: &Authority, node: &Node, state: State) {
        // In quarantine a node gets no certificate: nobody waits for it.
        let is_live = node.quarantine.is_none() && matches!(state, State::Online | State::Late);
        self.live += usize::from(is_live);
        if is_live && node.trust_bundle_version < authority.bundle_version {
            self.unacknowledged.add(node.id);
        }
        for (standing, holders) in
            [(Standing::Previous, &mut self.on_previous), (Standing::Next, &mut self.on_next)]
        {
            let holds = |slot: &Slot| node.certificate.both().any(|issued| issued.issuer == slot.number);
            if authority.at(standing).is_some_and(holds) {
                let those = if is_live { &mut holders.live } else { &mut holders.absent };
                those.add(node.id);
            }
        }
    }
}

impl Nodes {
    /// One more.
    pub fn add(&mut self, id: NodeId) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(id);
        }
    }

    pub(super) fn named(&self) -> String {
        named(&self.first, self.count)
    }
}

impl FromIterator<NodeId> for Nodes {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> Self {
        let mut nodes = Self::default();
        ids.into_iter().for_each(|id| nodes.add(id));
        nodes
    }
}

impl Holders {
    /// Who would be lost without the slot.
    pub(super) fn lost(&self, slot: &str, recovers: bool) -> Option<String> {
        let Self { live, absent, callers } = self;
        if live.count > 0 {
            let (count, names) = (live.count, live.named());
            return Some(format!(
                "{count} connected nodes still hold certificates of the {slot} issuer: {names}"
            ));
        }
        if !callers.is_empty() {
            let (count, names) = (callers.len(), named(callers, callers.len()));
            return Some(format!(
                "{count} callers still hold certificates of the {slot} issuer, renew them: {names}"
            ));
        }
        if absent.count > 0 && !recovers {
            let (count, names) = (absent.count, absent.named());
            return Some(format!(
                "{count} nodes that are away or in quarantine hold certificates of the {slot} issuer, \
                 and recovery is switched off: {names}"
            ));
        }
        None
    }
}

/// The first of so many.
fn named<T: ToString>(first: &[T], count: usize) -> String {
    let names: Vec<String> = first.iter().take(NAMED).map(ToString::to_string).collect();
    let more = count - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}
