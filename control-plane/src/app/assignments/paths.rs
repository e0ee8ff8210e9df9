//! Two bundles that write one path on one node: refused when the second is assigned.

use std::collections::BTreeSet;

use muster_common::reason::Reason;
use muster_domain::{assignment::Target, effective::Compiled};
use muster_store::{ReadBundles as _, WriteTx};

use super::{Labelled, Nodes, PathsOf};
use crate::app::{App, Error, catalog::Contents};

/// Refuses an assignment that brings a path to a node to which another one brings it in
/// another bundle. What rollouts have brought, or may bring, counts.
pub(super) fn check(
    tx: &mut WriteTx<'_>,
    app: &App,
    new: &Compiled,
    others: &[Compiled],
    nodes: &Nodes<'_>,
) -> Result<(), Error> {
    let known = Known { catalog: &app.catalog.now(), paths_of: app.fixed.bundle_paths };
    let mut ours = BTreeSet::new();
    known.visit(tx, new, |path| {
        ours.insert(path.to_owned());
    })?;
    if ours.is_empty() {
        return Ok(());
    }
    let item = new.assignment.target.item();
    // Of one bundle one version is on a node: which one, its priority says.
    for other in others.iter().filter(|other| !other.assignment.target.is_of(&item)) {
        let mut shared = BTreeSet::new();
        known.visit(tx, other, |path| shared.extend(ours.get(path)))?;
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

/// Where paths are known from. A version of a bundle never changes, and its number is
/// never given again: what memory has of it is true, and only what it has not is read.
struct Known<'a> {
    catalog: &'a Contents,
    paths_of: PathsOf,
}

impl Known<'_> {
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
                    let read = tx.bundle_payload(name, *version)?.map(|payload| (self.paths_of)(&payload));
                    read.iter().flatten().for_each(|path| visit(path));
                }
            }
        }
        Ok(())
    }
}
