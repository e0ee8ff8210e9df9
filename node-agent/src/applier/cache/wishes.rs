//! Which blobs items wait for, on the disk: what has come of them is kept also while
//! no process runs, and nobody has said again what is wanted.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{clock::UnixMillis, digest::Sha256};
use serde::{Deserialize, Serialize};

use super::Blob;
use crate::platform::files;

/// A wish that nobody says again is forgotten after this.
const KEPT: Duration = Duration::from_secs(86_400);

/// The wishes of all items.
#[derive(Debug)]
pub(in crate::applier) struct Wishes {
    path: PathBuf,
    wishes: BTreeMap<String, Wish>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wish {
    /// When it was said last.
    at: UnixMillis,
    /// Digests, with the bytes of each blob.
    blobs: BTreeMap<Sha256, u64>,
}

impl Wishes {
    /// Those of the applier in this folder. What cannot be read is fetched anew.
    pub(in crate::applier) fn open(folder: &Path) -> Self {
        let path = folder.join("wishes.json");
        let wishes = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        Self { path, wishes: wishes.unwrap_or_default() }
    }

    /// An item waits for these.
    pub(in crate::applier) fn put(&mut self, item: &str, blobs: &[Blob], at: UnixMillis) -> io::Result<()> {
        let blobs = blobs.iter().map(|blob| (blob.sha256, blob.size)).collect();
        self.wishes.insert(item.to_owned(), Wish { at, blobs });
        self.save()
    }

    /// An item waits for nothing any more.
    pub(in crate::applier) fn forget(&mut self, item: &str) -> io::Result<()> {
        if self.wishes.remove(item).is_some() { self.save() } else { Ok(()) }
    }

    /// All that is waited for.
    pub(in crate::applier) fn all(&self, now: UnixMillis) -> impl Iterator<Item = Sha256> {
        let fresh = self.wishes.values().filter(move |wish| now.since(wish.at) < KEPT);
        fresh.flat_map(|wish| wish.blobs.keys().copied())
    }

    fn save(&self) -> io::Result<()> {
        files::write_atomically(&self.path, &serde_json::to_vec_pretty(&self.wishes)?, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_known_to_the_next_process_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = [b"a", b"b"].map(|name| Blob { sha256: Sha256::of(name), size: 1 });
        let (now, day) = (UnixMillis(1_000), UnixMillis(1_000) + KEPT);
        let mut wishes = Wishes::open(folder.path());
        wishes.put("bundle/a", &[a], now).unwrap();
        wishes.put("bundle/b", &[b], day).unwrap();
        let mut again = Wishes::open(folder.path());
        assert_eq!(again.all(now).collect::<Vec<_>>(), [a.sha256, b.sha256]);
        assert_eq!(again.all(day).collect::<Vec<_>>(), [b.sha256]);
        again.forget("bundle/b").unwrap();
        again.forget("bundle/c").unwrap();
        assert_eq!(Wishes::open(folder.path()).all(now).collect::<Vec<_>>(), [a.sha256]);
        fs::write(folder.path().join("wishes.json"), "damaged").unwrap();
        assert_eq!(Wishes::open(folder.path()).all(now).count(), 0);
    }
}
