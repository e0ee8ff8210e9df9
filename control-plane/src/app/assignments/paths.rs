//! Two bundles that write one path on one node: refused when the second is assigned.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use muster_common::reason::Reason;
use muster_domain::{assignment::Target, effective::Compiled};
use muster_store::{ReadBundles as _, WriteTx};

use super::{Labelled, Nodes, PathsOf, rivals::Refused};
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

    /// Refuses assignments that bring a path to a node to which another one brings it in
    /// another bundle. What rollouts have brought, or may bring, counts; their old selves do
    /// not.
    pub(super) fn check(
        &self,
        tx: &mut WriteTx<'_>,
        new: &[Compiled],
        others: &[Compiled],
        nodes: &Nodes<'_>,
    ) -> Result<Option<Refused>, Error> {
        let mut ours: HashMap<String, Vec<&Compiled>> = HashMap::new();
        for new in new {
            self.visit(tx, new, |path| ours.entry(path.to_owned()).or_default().push(new))?;
        }
        if ours.is_empty() {
            return Ok(None);
        }
        for other in others {
            // Of each pair the first path: whether they meet on a node does not depend on it.
            let mut shared: BTreeMap<&str, (String, &Compiled)> = BTreeMap::new();
            self.visit(tx, other, |path| {
                for new in ours.get(path).into_iter().flatten().filter(|new| are_rivals(new, other)) {
                    let first = shared.entry(&new.assignment.name).or_insert_with(|| (path.to_owned(), new));
                    if path < first.0.as_str() {
                        path.clone_into(&mut first.0);
                    }
                }
            })?;
            for (path, new) in shared.into_values() {
                let both = |(_, labels, facts): &&Labelled| {
                    new.reaches(labels, facts) && other.reaches(labels, facts)
                };
                let mut reached = nodes.iter().filter(both).map(|(id, ..)| id);
                let Some(node) = reached.next() else { continue };
                let (name, more) = (&other.assignment.name, reached.count());
                let message = format!(
                    "assignment {name:?} writes {path:?} on the same nodes, in another bundle: {node} and {more} others"
                );
                return Ok(Some(Refused::new(new, Reason::Conflict, message)));
            }
        }
        Ok(None)
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

/// Whether two assignments could be in each other's way. Of one bundle one version is on a
/// node: which one, its priority says.
fn are_rivals(a: &Compiled, b: &Compiled) -> bool {
    a.assignment.name != b.assignment.name && !a.assignment.target.is_of(&b.assignment.target.item())
}
