//! Where a host differs from what a bundle says. It looks, and writes nothing.

use std::{
    io,
    path::{Path, PathBuf},
};

use muster_common::{clock::UnixMillis, digest::Sha256, text_diff};

mod pace;

pub(super) use pace::{Pace, WAIT};

use super::{
    bundle::{Bundle, Content, File},
    cache::Cache,
    records::Kind,
};
use crate::{
    locks::Locks,
    platform::place::{Found, Rights},
    state::Drift,
    verbs::{Hands, Spot},
};

/// Most paths of one item that are told.
const MAX: usize = 8;
/// Longest text about what differs, in bytes.
const MAX_TEXT: usize = 512;

/// A path that is other than the bundle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) path: PathBuf,
    what: String,
    before: Option<Sha256>,
    after: Option<Sha256>,
    diff: String,
}

/// All differences. What the lock file does not allow is not looked at. `cache`: where
/// small blobs may be, for a diff.
pub(super) fn look(bundle: &Bundle, locks: &Locks, (cache, hands): &(Cache, Hands)) -> Vec<Difference> {
    let differs = |file: &File| {
        let root = locks.root_of(&file.path)?;
        let looked = if file.kind == Kind::Folder {
            folder(root, file, hands)
        } else {
            regular(root, file, (cache, hands))
        };
        // What cannot be looked at is not as it should be either.
        looked.unwrap_or_else(|error| Some(Difference::new(file, error.to_string())))
    };
    bundle.files.iter().filter_map(differs).collect()
}

fn regular(root: &Path, file: &File, (cache, hands): (&Cache, &Hands)) -> io::Result<Option<Difference>> {
    let place = hands.open(root, &file.path)?;
    let found = place.as_ref().map(Spot::read).transpose()?.flatten();
    let Some((place, found)) = place.zip(found) else {
        return Ok((file.kind == Kind::File).then(|| Difference::new(file, "it is missing")));
    };
    // The hash of a secret helps whoever guesses it.
    let after = file.secret.is_none().then_some(found.sha256);
    if file.kind == Kind::Absent {
        return Ok(Some(Difference { after, ..Difference::new(file, "it is there") }));
    }
    let other = found.sha256 != file.content.sha256();
    let mut what: Vec<String> = if other { vec!["content".to_owned()] } else { Vec::new() };
    what.extend(rights(file, found.rights));
    if what.is_empty() {
        return Ok(None);
    }
    let diff = if other && is_open(file, &found) { differs(file, &place, &found, cache)? } else { None };
    let difference = Difference::new(file, what.join(", "));
    Ok(Some(Difference { after, diff: diff.unwrap_or_default(), ..difference }))
}

/// A diff, where both are small enough for one, and the bytes of a blob are here.
fn differs(file: &File, place: &Spot, found: &Found, cache: &Cache) -> io::Result<Option<String>> {
    if found.size.max(file.content.size()) > text_diff::LARGEST as u64 {
        return Ok(None);
    }
    let before = match &file.content {
        Content::Inline(bytes) => Some(bytes.clone()),
        Content::Blob(blob) => cache.read(blob).ok(),
    };
    let Some((before, after)) = before.zip(place.text()?) else { return Ok(None) };
    Ok(text_diff::unified(&before, &after, ("bundle", "host")))
}

fn folder(root: &Path, file: &File, hands: &Hands) -> io::Result<Option<Difference>> {
    let found = hands.open(root, &file.path)?.map(|place| place.folder()).transpose()?.flatten();
    let what = found.map_or_else(|| vec!["it is missing".to_owned()], |found| rights(file, found));
    Ok((!what.is_empty()).then(|| Difference::new(file, what.join(", "))))
}

fn rights(file: &File, found: Rights) -> Vec<String> {
    let mut what = Vec::new();
    if found.mode != file.mode {
        what.push(format!("mode {:04o} instead of {:04o}", found.mode, file.mode));
    }
    let (user, group) = file.owner_or(found.owner);
    if found.owner.0 != user {
        what.push(format!("owner {} instead of {user}", found.owner.0));
    }
    if found.owner.1 != group {
        what.push(format!("group {} instead of {group}", found.owner.1));
    }
    what
}

/// Only what everybody on the host may read is quoted: what somebody wrote into a
/// closed file may be a secret.
const fn is_open(file: &File, found: &Found) -> bool {
    file.mode & 0o004 != 0 && found.rights.mode & 0o004 != 0
}

impl Difference {
    fn new(file: &File, what: impl Into<String>) -> Self {
        let mut what = what.into();
        what.truncate(what.floor_char_boundary(MAX_TEXT));
        let is_told = file.kind == Kind::File && file.secret.is_none();
        let before = is_told.then(|| file.content.sha256());
        Self { path: file.path.clone(), what, before, after: None, diff: String::new() }
    }

    fn is(&self, known: &Drift) -> bool {
        Path::new(&known.path) == self.path && known.what == self.what && known.after == self.after
    }

    fn told(&self, noticed_at: UnixMillis) -> Drift {
        Drift {
            path: self.path.display().to_string(),
            what: self.what.clone(),
            before: self.before,
            after: self.after,
            diff: self.diff.clone(),
            noticed_at,
            corrected: false,
            error: String::new(),
        }
    }
}

/// What is told from now on: what differs, since when it does, and what was corrected before.
pub(super) fn merge(known: &[Drift], differences: &[Difference], now: UnixMillis) -> Vec<Drift> {
    let open = known.iter().filter(|drift| !drift.corrected);
    let of =
        |one: &Difference| open.clone().find(|drift| one.is(drift)).cloned().unwrap_or_else(|| one.told(now));
    let mut merged: Vec<Drift> = differences.iter().take(MAX).map(of).collect();
    for drift in known.iter().filter(|drift| drift.corrected) {
        if merged.len() < MAX && !merged.iter().any(|other| other.path == drift.path) {
            merged.push(drift.clone());
        }
    }
    merged
}

/// The same, with all that differed corrected.
pub(super) fn corrected(drift: Vec<Drift>) -> Vec<Drift> {
    let now = |drift: Drift| Drift { corrected: true, error: String::new(), ..drift };
    drift.into_iter().map(now).collect()
}

/// The same, with why what differs was not corrected.
pub(super) fn failed(drift: Vec<Drift>, error: &str) -> Vec<Drift> {
    let error = &error[..error.floor_char_boundary(1024)];
    let now = |drift: Drift| if drift.corrected { drift } else { Drift { error: error.to_owned(), ..drift } };
    drift.into_iter().map(now).collect()
}
