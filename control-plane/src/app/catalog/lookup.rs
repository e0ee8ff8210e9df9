//! Where among all assignments those are that are about a name, an item, or a node.

use std::collections::HashMap;

use muster_domain::{
    effective::{Compiled, Index},
    item::ItemName,
};

/// Places in a list of assignments. Made once for a list; asked for every node.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    /// By what nodes must have.
    pub(super) near: Index,
    names: HashMap<String, usize>,
    items: HashMap<ItemName, Vec<usize>>,
}

impl Lookup {
    pub(super) fn of(assignments: &[Compiled]) -> Self {
        let mut lookup = Self {
            near: Index::of(assignments.iter().map(|compiled| &compiled.selector)),
            ..Self::default()
        };
        for (place, Compiled { assignment, .. }) in assignments.iter().enumerate() {
            lookup.names.insert(assignment.name.clone(), place);
            lookup.items.entry(assignment.target.item()).or_default().push(place);
        }
        lookup
    }

    pub(super) fn name(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn item(&self, item: &ItemName) -> &[usize] {
        self.items.get(item).map_or(&[], Vec::as_slice)
    }
}
