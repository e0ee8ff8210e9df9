//! Where each item of a node stands: what it should have beside what it says it has.

use muster_common::{generation::Generation, reason::Reason};
use muster_domain::item::{ItemName, ItemState, ItemVersion};

use super::nodes::View;

/// One item of a node.
#[derive(Debug, Clone, Copy)]
pub struct ItemView<'a> {
    /// Which.
    pub name: &'a ItemName,
    /// What it should have. `None`: nothing.
    pub desired: Option<&'a ItemVersion>,
    /// What it last said. `None`: nothing.
    pub reported: Option<&'a ItemState>,
    /// Why it does not get what it should have. `None`: it does.
    pub withheld: Option<Reason>,
    /// It has what it should have, is on its way to nothing else, and has not drifted.
    pub in_sync: bool,
}

impl View {
    /// All items that it should have or tells of, in order of their names.
    #[must_use]
    pub fn items(&self) -> Vec<ItemView<'_>> {
        let mut names: Vec<&ItemName> = self.desired.iter().map(|(name, _)| name).collect();
        names.extend(self.node.items.iter().map(|state| &state.item));
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| self.item(name)).collect()
    }

    fn item<'a>(&'a self, name: &'a ItemName) -> ItemView<'a> {
        let desired = self.desired.iter().find(|(item, _)| item == name).map(|(_, version)| version);
        let reported = self.node.items.iter().find(|state| state.item == *name);
        let end = || ItemVersion::removal(Generation::new(0, 0));
        let wanted = desired.cloned().unwrap_or_else(end);
        let is_there = |state: &ItemState| state.has(&wanted) && !state.is_in_flight(&wanted);
        let in_sync =
            reported.map_or(desired.is_none(), is_there) && !reported.is_some_and(ItemState::has_drifted);
        let withheld = self.withheld.iter().find(|(item, _)| item == name).map(|(_, why)| *why);
        ItemView { name, desired, reported, withheld, in_sync }
    }
}
