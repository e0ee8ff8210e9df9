//! What nodes should have, in memory: assignments with their selectors parsed, the groups
//! that these name, the values of profiles, and the bytes that are offered.
//!
//! What one node should have is found without looking at what is for others: its cost
//! does not grow with the number of assignments.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use muster_common::{digest::Sha256, generation::Generation, trace::Context};
use muster_domain::{
    assignment::{Assignment, Target, Touch},
    bundle::BlobOf,
    effective::{self, Compiled, Decided, Giving},
    item::{ItemName, ItemVersion, MAX_WANTED},
    labels::Groups,
    node::Node,
    secret::Secret,
    settings::Values,
};
use muster_store::{
    ReadAssignments as _, ReadBundles as _, ReadExtensions as _, ReadGroups as _, ReadItemMarks as _,
    ReadReleases as _, ReadSecrets as _, ReadTx,
};

mod changed;
mod lookup;

pub use changed::Changed;

use super::{
    assignments::PathsOf,
    settings::{self, Profiles},
};
use lookup::Lookup;

/// Answers to which blobs the bytes of a bundle refer.
pub type BlobsOf = fn(&[u8]) -> Vec<BlobOf>;

/// Reads in the bytes of a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// Which paths they write.
    pub paths: PathsOf,
    /// To which blobs they refer.
    pub blobs: BlobsOf,
}

/// The present state of it all; replaced whole.
#[derive(Default)]
pub struct Catalog(ArcSwap<Contents>);

/// One state of it all.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// All assignments.
    pub assignments: Vec<Compiled>,
    /// All groups.
    pub groups: Groups,
    profiles: Profiles,
    lookup: Lookup,
    /// Of bundles, extensions and releases.
    payloads: HashMap<Target, Payload>,
    marks: BTreeMap<ItemName, u64>,
    /// Of marks that were made in a trace that somebody collects: mark, and where in it.
    traced: BTreeMap<ItemName, (u64, Context)>,
}

#[derive(Debug, Clone)]
struct Payload {
    sha256: Sha256,
    bytes: Bytes,
    /// Its protected contents, encrypted.
    secrets: Arc<[Secret]>,
    /// The blobs to which it refers; looked up when it is read, not for each node that asks.
    blobs: Arc<[Sha256]>,
    /// The paths that it writes, likewise.
    paths: Arc<[String]>,
}

/// What a node should have of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub item: ItemName,
    /// At which version.
    pub version: ItemVersion,
    /// Its bytes.
    pub payload: Bytes,
    /// Its protected contents, encrypted.
    pub secrets: Arc<[Secret]>,
}

impl Catalog {
    /// The present state.
    #[must_use]
    pub fn now(&self) -> Arc<Contents> {
        self.0.load_full()
    }

    /// Puts another state in its place; answers the one that was there.
    pub fn replace(&self, contents: Arc<Contents>) -> Arc<Contents> {
        self.0.swap(contents)
    }
}

impl Contents {
    /// Reads everything; bytes that `before` has are not read again.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(tx: &mut ReadTx<'_>, before: &Self, reader: Reader) -> Result<Self, muster_store::Error> {
        let groups = Groups::of(&tx.group_all()?);
        let compiled = tx.assignment_all()?.into_iter().filter_map(|it| compiled(it, &groups));
        let mut contents = Self::of(compiled.collect(), groups.clone());
        contents.fill(tx, before, reader)?;
        contents.marks = tx.item_mark_all()?;
        let traced = tx.item_mark_traced()?.into_iter();
        let traced = traced.filter_map(|(item, (mark, at))| Some((item, (mark, Context::sampled(&at)?))));
        contents.traced = traced.collect();
        Ok(contents)
    }

    fn of(assignments: Vec<Compiled>, groups: Groups) -> Self {
        Self { lookup: Lookup::of(&assignments), assignments, groups, ..Self::default() }
    }

    /// The same with other assignments, before what these give is read.
    #[must_use]
    pub fn with(&self, assignments: Vec<Compiled>, groups: Groups) -> Self {
        let (payloads, marks) = (self.payloads.clone(), self.marks.clone());
        Self { payloads, marks, ..Self::of(assignments, groups) }
    }

    /// Reads what its assignments may give; bytes that it or `before` has are not read again.
    ///
    /// # Errors
    /// If the store fails.
    pub fn fill(
        &mut self,
        tx: &mut ReadTx<'_>,
        before: &Self,
        reader: Reader,
    ) -> Result<(), muster_store::Error> {
        self.profiles = settings::values_of(tx, self.assignments.iter())?;
        for compiled in &self.assignments {
            // What is held is given to nobody yet; it is asked for its paths all the same.
            let planned = std::iter::once(&compiled.assignment.target);
            for target in compiled.assignment.targets().chain(planned) {
                if self.payloads.contains_key(target) {
                    continue;
                }
                // A release gets other bytes when it is published for another kind of host.
                let known = before.payloads.get(target);
                let known = known.filter(|_| !matches!(target, Target::Release { .. }));
                let payload = match known {
                    Some(payload) => Some(payload.clone()),
                    None => Payload::read(tx, target, reader)?,
                };
                self.payloads.extend(payload.map(|payload| (target.clone(), payload)));
            }
        }
        Ok(())
    }

    /// What a node should have, in order of items.
    #[must_use]
    pub fn wanted(&self, node: &Node, epoch: u64) -> Vec<Wanted> {
        let winners = effective::winners(&node.labels, &node.facts, &node.touches, self.near(node));
        // The settings come first in the order of items, so they are never among those left out.
        winners
            .into_iter()
            .take(MAX_WANTED)
            .filter_map(|(item, candidates)| self.version(&item, &candidates, node, epoch))
            .collect()
    }

    /// Whether something refers to a blob that a node should have now, or had before the
    /// rollout that brought it: a host may be on its way back to that.
    #[must_use]
    pub fn refers(&self, node: &Node, sha256: &Sha256) -> bool {
        let winners = effective::winners(&node.labels, &node.facts, &node.touches, self.near(node));
        let firsts = winners.values().take(MAX_WANTED).filter_map(|candidates| candidates.first());
        let mut targets = firsts.flat_map(|giving| {
            let touch = giving.by.assignment.touch_of(&node.touches);
            std::iter::once(giving.target).chain(touch.and_then(|touch: &Touch| touch.before.as_ref()))
        });
        targets.any(|it| self.payloads.get(it).is_some_and(|payload| payload.blobs.contains(sha256)))
    }

    fn version(&self, item: &ItemName, candidates: &[Giving<'_>], node: &Node, epoch: u64) -> Option<Wanted> {
        let target = candidates.first()?.target;
        let payload = || self.payloads.get(target).cloned();
        let (version, payload) = match target {
            Target::Bundle { version, .. } | Target::Extension { version, .. } => {
                (version.to_string(), payload()?)
            }
            Target::Release { version } => (version.clone(), payload()?),
            Target::Settings { .. } => self.settings(candidates),
        };
        let Payload { sha256, bytes, secrets, .. } = payload;
        let version = ItemVersion { generation: self.generation(item, node, epoch), version, sha256 };
        Some(Wanted { item: item.clone(), version, payload: bytes, secrets })
    }

    /// What a node should have of one item.
    #[must_use]
    pub fn wanted_of(&self, node: &Node, item: &ItemName, epoch: u64) -> Option<Wanted> {
        let near = self.near(node).filter(|compiled| compiled.assignment.target.is_of(item));
        let candidates = effective::candidates(&node.labels, &node.facts, &node.touches, near);
        self.version(item, &candidates, node, epoch)
    }

    /// The assignments that are about an item.
    pub fn of_item(&self, item: &ItemName) -> impl Iterator<Item = &Compiled> {
        self.lookup.item(item).iter().map(|place| &self.assignments[*place])
    }

    /// An assignment.
    #[must_use]
    pub fn assignment(&self, name: &str) -> Option<&Compiled> {
        self.lookup.name(name).map(|place| &self.assignments[place])
    }

    /// The assignments that can reach a node: all that do are among them.
    pub fn near<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Compiled> {
        self.lookup.near.near(&node.labels, &node.facts).map(|place| &self.assignments[place])
    }

    /// The values of a version of a profile that some assignment may give.
    #[must_use]
    pub fn profile(&self, name: &str, version: u64) -> Option<&Values> {
        self.profiles.get(&(name.to_owned(), version))
    }

    /// The paths that a version of a bundle writes. `None`: no assignment gives it, as
    /// far as this state knows.
    #[must_use]
    pub fn paths(&self, bundle: &str, version: u64) -> Option<&[String]> {
        let target = Target::Bundle { name: bundle.to_owned(), version };
        Some(&self.payloads.get(&target)?.paths)
    }

    /// The place in the history of what a node should have, or not have, of an item.
    #[must_use]
    pub fn generation(&self, item: &ItemName, node: &Node, epoch: u64) -> Generation {
        let mark = self.marks.get(item).copied().unwrap_or(0);
        effective::generation(epoch, item, mark, node.selector_revision, &node.touches)
    }

    /// Where in its trace the change is that made an item what it is at this place in the
    /// history. `None`: something else made it, or nobody collects that trace.
    #[must_use]
    pub fn traced(&self, item: &ItemName, generation: Generation) -> Option<Context> {
        let (mark, at) = self.traced.get(item)?;
        (*mark == generation.number).then_some(*at)
    }

    fn settings(&self, candidates: &[Giving<'_>]) -> (String, Payload) {
        let payload = Payload::plain(effective::settings_payload(&self.decided(candidates)));
        (payload.sha256.to_string()[..12].to_owned(), payload)
    }

    /// The options of a node that assignments decide, and which of them does.
    #[must_use]
    pub fn decided_for<'a>(&'a self, node: &'a Node) -> BTreeMap<&'a str, Decided<'a, Giving<'a>>> {
        let candidates = self.near(node).filter(|it| it.assignment.target.is_of(&ItemName::Settings));
        self.decided(&effective::candidates(&node.labels, &node.facts, &node.touches, candidates))
    }

    fn decided<'a>(&'a self, candidates: &[Giving<'a>]) -> BTreeMap<&'a str, Decided<'a, Giving<'a>>> {
        let values = |giving: &Giving<'a>| match giving.target {
            Target::Settings { profile, version } => {
                Some((*giving, self.profiles.get(&(profile.clone(), *version))?))
            }
            Target::Bundle { .. } | Target::Extension { .. } | Target::Release { .. } => None,
        };
        effective::merge_settings(candidates.iter().filter_map(values))
    }
}

impl Payload {
    fn read(
        tx: &mut ReadTx<'_>,
        target: &Target,
        reader: Reader,
    ) -> Result<Option<Self>, muster_store::Error> {
        match target {
            Target::Settings { .. } => Ok(None), // made of several
            Target::Release { version } => Ok(tx.release_payload(version)?.map(Self::plain)),
            Target::Extension { name, version } => {
                let Some(bytes) = tx.extension_payload(name, *version)? else { return Ok(None) };
                let secrets = tx.secret_of_extension(name, *version)?.into_iter().collect();
                Ok(Some(Self { secrets, ..Self::plain(bytes) }))
            }
            Target::Bundle { name, version } => {
                let Some(bytes) = tx.bundle_payload(name, *version)? else { return Ok(None) };
                let blobs = (reader.blobs)(&bytes).into_iter().map(|blob| blob.sha256).collect();
                let paths = (reader.paths)(&bytes).into();
                let secrets = tx.secret_of_bundle(name, *version)?.into();
                Ok(Some(Self { secrets, blobs, paths, ..Self::plain(bytes) }))
            }
        }
    }

    /// Bytes that refer to nothing.
    fn plain(bytes: Vec<u8>) -> Self {
        let (secrets, blobs, paths) = (Arc::default(), Arc::default(), Arc::default());
        Self { sha256: Sha256::of(&bytes), bytes: Bytes::from(bytes), secrets, blobs, paths }
    }
}

fn compiled(assignment: Assignment, groups: &Groups) -> Option<Compiled> {
    match Compiled::new(assignment, groups) {
        Ok(compiled) => Some(compiled),
        Err(error) => {
            // Checked when it was written: a newer release may know more of selectors.
            tracing::error!(%error, "an assignment's selectors cannot be used; it matches nothing");
            None
        }
    }
}
