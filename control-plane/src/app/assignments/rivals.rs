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
    /// All that are stored; `new` in the place of its old self.
    pub(in crate::app) fn read(
        tx: &mut WriteTx<'_>,
        app: &App,
        groups: &Groups,
        new: Option<&Compiled>,
    ) -> Result<Self, Error> {
        let is_old_self = |it: &Assignment| new.is_some_and(|new| new.assignment.name == it.name);
        let others = tx.assignment_all()?.into_iter().filter(|it| !is_old_self(it));
        let others = others.filter_map(|it| Compiled::new(it, groups).ok());
        Ok(Self { all: others.chain(new.cloned()).collect(), paths: Paths::new(app) })
    }

    /// Those of them that fit.
    pub(in crate::app) fn named(&self, fits: impl Fn(&Assignment) -> bool) -> Vec<Compiled> {
        self.all.iter().filter(|it| fits(&it.assignment)).cloned().collect()
    }

    /// Refuses one of them that would give a node too much, or contradict another one there.
    pub(in crate::app) fn check(
        &self,
        tx: &mut WriteTx<'_>,
        new: &Compiled,
        nodes: &Nodes<'_>,
    ) -> Result<(), Error> {
        self.check_all(tx, std::slice::from_ref(new), nodes)?.map_or(Ok(()), |refused| Err(refused.why))
    }

    /// The first of some of them that would, and why. Everything is read and looked up once
    /// for all: other writes wait meanwhile.
    pub(in crate::app) fn check_all(
        &self,
        tx: &mut WriteTx<'_>,
        new: &[Compiled],
        nodes: &Nodes<'_>,
    ) -> Result<Option<Refused>, Error> {
        if let Some(refused) = self.check_room(new, nodes) {
            return Ok(Some(refused));
        }
        if let Some(refused) = self.paths.check(tx, new, &self.all, nodes)? {
            return Ok(Some(refused));
        }
        let has_settings = new.iter().any(|new| new.assignment.target.is_of(&ItemName::Settings));
        let profiles =
            if has_settings { settings::values_of(tx, self.all.iter())? } else { Profiles::default() };
        for new in new {
            let profile = |name: &str, version| profiles.get(&(name.to_owned(), version));
            // Not before the first rival is found.
            let nodes = std::iter::once(nodes).flat_map(|nodes| nodes.iter());
            let nodes = nodes.map(|(id, labels, facts)| (*id, labels, facts));
            if let Some(conflict) = effective::conflict(new, &self.all, nodes, profile) {
                return Ok(Some(Refused::new(new, Reason::Conflict, conflict.to_string())));
            }
        }
        Ok(None)
    }

    /// Refuses what would give a node more items than it can have. Labels may still
    /// lead there later; then the first ones count, in the order of their names.
    fn check_room(&self, new: &[Compiled], nodes: &Nodes<'_>) -> Option<Refused> {
        if self.all.len() <= MAX_WANTED {
            return None;
        }
        let index = Index::of(self.all.iter().map(|compiled| &compiled.selector));
        if index.most() <= MAX_WANTED {
            return None; // not one node has to be looked at
        }
        nodes.iter().find_map(|(id, labels, facts)| {
            let reaching = new.iter().find(|new| new.reaches(labels, facts))?;
            let near = index.near(labels, facts).map(|place| &self.all[place]);
            let count = effective::winners(labels, facts, &[], near).len();
            let message = || format!("node {id} would have {count} items; a node has at most {MAX_WANTED}");
            (count > MAX_WANTED).then(|| Refused::new(reaching, Reason::TooLarge, message()))
        })
    }
}

/// An assignment that cannot be as it is.
pub(in crate::app) struct Refused {
    /// Its name.
    pub(in crate::app) assignment: String,
    /// Why.
    pub(in crate::app) why: Error,
}

impl Refused {
    pub(super) fn new(of: &Compiled, reason: Reason, message: String) -> Self {
        Self { assignment: of.assignment.name.clone(), why: Error::refused(reason, message) }
    }
}
