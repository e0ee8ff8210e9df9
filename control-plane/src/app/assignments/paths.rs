//! Two bundles that write one path on one node: refused when the second is assigned.

use std::collections::BTreeSet;

use muster_common::reason::Reason;
use muster_domain::{assignment::Target, effective::Compiled};
use muster_store::{ReadBundles as _, WriteTx};

use super::{Labelled, PathsOf};
use crate::app::Error;

/// Refuses an assignment that brings a path to a node to which another one brings it in
/// another bundle. What rollouts have brought, or may bring, counts.
pub(super) fn check(
    tx: &mut WriteTx<'_>,
    paths_of: PathsOf,
    new: &Compiled,
    others: &[Compiled],
    nodes: &[Labelled],
) -> Result<(), Error> {
    let ours = paths(tx, paths_of, new)?;
    if ours.is_empty() {
        return Ok(());
    }
    for other in others {
        // Of one bundle one version is on a node: which one, its priority says.
        if other.assignment.target.item() == new.assignment.target.item() {
            continue;
        }
        let theirs = paths(tx, paths_of, other)?;
        let Some(path) = ours.intersection(&theirs).next() else { continue };
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

fn paths(tx: &mut WriteTx<'_>, paths_of: PathsOf, assignment: &Compiled) -> Result<BTreeSet<String>, Error> {
    let mut paths = BTreeSet::new();
    let planned = std::iter::once(&assignment.assignment.target);
    for target in assignment.assignment.targets().chain(planned) {
        if let Target::Bundle { name, version } = target
            && let Some(payload) = tx.bundle_payload(name, *version)?
        {
            paths.extend(paths_of(&payload));
        }
    }
    Ok(paths)
}
