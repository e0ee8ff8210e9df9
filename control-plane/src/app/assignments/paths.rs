//! Two bundles that write one path on one node: refused when the second is assigned.

use std::{collections::BTreeSet, sync::Arc};

use muster_common::reason::Reason;
use muster_domain::{assignment::Target, effective::Compiled};
use muster_store::{ReadBundles as _, WriteTx};

use super::{Labelled, Nodes, PathsOf};
use crate::app::{App, Error, catalog::Contents};

/// Where paths are known from. A version of a bundle never changes, and its number is
/// never given again: what memory has of it is true, and only what it has not is read.
pub(super) struct Paths {
    catalog: Arc<Contents>,
    of: PathsOf,
}

impl Paths {
    pub(super) fn new(app: &App) -> Self {
        Self { catalog: app.catalog.now(), of: app.fixed.bundle_paths }
    }

    /// Refuses an assignment that brings a path to a node to which another one brings it in
    /// another bundle. What rollouts have brought, or may bring, counts.
    pub(super) fn check(
        &self,
        tx: &mut WriteTx<'_>,
        new: &Compiled,
        others: &[Compiled],
        nodes: &Nodes<'_>,
    ) -> Result<(), Error> {
        let mut ours = BTreeSet::new();
        self.visit(tx, new, |path| {
            ours.insert(path.to_owned());
        })?;
        if ours.is_empty() {
            return Ok(());
        }
        let item = new.assignment.target.item();
        // Of one bundle one version is on a node: which one, its priority says.
        for other in others.iter().filter(|other| !other.assignment.target.is_of(&item)) {
            let mut shared = BTreeSet::new();
            self.visit(tx, other, |path| shared.extend(ours.get(path)))?;
            let Some(path) = shared.first() else { continue };
            let both =
                |(_, labels, facts): &&Labelled| new.reaches(labels, facts) && other.reaches(labels, facts);
            let mut reached = nodes.iter().filter(both).map(|(id, ..)| id);
            if let Some(node) = reached.next() {
                let (name, more) = (&other.assignment.name, reached.count());
                let message = format!(
                    "assignment {name:?} writes {path:?} on the same nodes, in another bundle: {node} and {more} others"
                );
                return Err(Error::refused(Reason::Conflict, message));
            }
        }
        Ok(())
    }

    /// Every path that an assignment brings to some node, or may bring; one may come twice.
    fn visit(
        &self,
        tx: &mut WriteTx<'_>,
        compiled: &Compiled,
        mut visit: impl FnMut(&str),
    ) -> Result<(), Error> {
        let planned = std::iter::once(&compiled.assignment.target);
        for target in compiled.assignment.targets().chain(planned) {
            let Target::Bundle { name, version } = target else { continue };
            match self.catalog.paths(name, *version) {
                Some(paths) => paths.iter().for_each(|path| visit(path)),
                None => {
                    let read = tx.bundle_payload(name, *version)?.map(|payload| (self.of)(&payload));
                    read.iter().flatten().for_each(|path| visit(path));
                }
            }
        }
        Ok(())
    }
}
