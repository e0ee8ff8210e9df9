//! What an assignment is held against before it is written, and when a group that it
//! names changes: all others, on the nodes of the fleet.

use muster_common::reason::Reason;
use muster_domain::{
    assignment::Assignment,
    effective::{self, Compiled, Index},
    item::{ItemName, MAX_WANTED},
    labels::Groups,
};
use muster_store::{ReadAssignments as _, WriteTx};

use super::{Nodes, paths::Paths};
use crate::app::{
    App, Error, selectors,
    settings::{self, Profiles},
};

/// All assignments, as they are with some groups.
pub(in crate::app) struct Rivals {
    all: Vec<Compiled>,
    paths: Paths,
}

/// An assignment with these groups; which of its selectors cannot be used is told.
pub(in crate::app) fn compiled(assignment: &Assignment, groups: &Groups) -> Result<Compiled, Error> {
    let resolve = |field: &str, text: &str| {
        let written = selectors::written(field, text)?;
        selectors::resolved(field, &written, groups).map(drop)
    };
    resolve("selector", &assignment.selector)?;
    for (n, exclusion) in assignment.exclusions.iter().enumerate() {
        resolve(&format!("exclusions[{n}]"), exclusion)?;
    }
    Compiled::new(assignment.clone(), groups).map_err(|error| Error::invalid("assignment", error.to_string()))
}

impl Rivals {
    pub(in crate::app) fn read(tx: &mut WriteTx<'_>, app: &App, groups: &Groups) -> Result<Self, Error> {
        let all = tx.assignment_all()?.into_iter().filter_map(|it| Compiled::new(it, groups).ok());
        Ok(Self { all: all.collect(), paths: Paths::new(app) })
    }

    /// Those of them whose names fit.
    pub(in crate::app) fn named(&self, fits: impl Fn(&Assignment) -> bool) -> Vec<Compiled> {
        self.all.iter().filter(|it| fits(&it.assignment)).cloned().collect()
    }

    /// Refuses an assignment that would give a node too much, or contradict another one
    /// there. Its old self does not count.
    pub(in crate::app) fn check(
        &self,
        tx: &mut WriteTx<'_>,
        new: &Compiled,
        nodes: &Nodes<'_>,
    ) -> Result<(), Error> {
        self.check_room(new, nodes)?;
        self.paths.check(tx, new, &self.all, nodes)?;
        let profiles = match new.assignment.target.item() {
            ItemName::Settings => settings::values_of(tx, self.all.iter().chain([new]))?,
            ItemName::Bundle(_) => Profiles::default(),
        };
        let profile = |name: &str, version| profiles.get(&(name.to_owned(), version));
        // Not before the first rival is found.
        let nodes = std::iter::once(nodes).flat_map(|nodes| nodes.iter());
        let nodes = nodes.map(|(id, labels, facts)| (*id, labels, facts));
        match effective::conflict(new, &self.all, nodes, profile) {
            Some(conflict) => Err(Error::refused(Reason::Conflict, conflict.to_string())),
            None => Ok(()),
        }
    }

    /// Refuses what would give a node more items than it can have. Labels may still
    /// lead there later; then the first ones count, in the order of their names.
    fn check_room(&self, new: &Compiled, nodes: &Nodes<'_>) -> Result<(), Error> {
        if self.all.len() < MAX_WANTED {
            return Ok(()); // with this one there are not more than that
        }
        let others = self.all.iter().filter(|other| other.assignment.name != new.assignment.name);
        let all: Vec<&Compiled> = others.chain([new]).collect();
        let index = Index::of(all.iter().map(|compiled| &compiled.selector));
        if index.most() <= MAX_WANTED {
            return Ok(()); // not one node has to be looked at
        }
        for (id, labels, facts) in nodes.iter() {
            if new.reaches(labels, facts) {
                let near = index.near(labels, facts).map(|place| all[place]);
                let count = effective::winners(labels, facts, &[], near).len();
                if count > MAX_WANTED {
                    let message =
                        format!("node {id} would have {count} items; a node has at most {MAX_WANTED}");
                    return Err(Error::refused(Reason::TooLarge, message));
                }
            }
        }
        Ok(())
    }
}
