//! Blobs that were fetched: whole under their digest, or the part that has come.
//!
//! Promises:
//! - What is under a digest was whole and had that digest when it was put there.
//! - A part is taken up where it ends, by the next process, too.
//! - It has at most [`QUOTA`] bytes. Whatever is lost is fetched again when it is needed.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use muster_common::digest::{Hashing, Sha256};

mod wishes;

pub(super) use wishes::Wishes;

use crate::platform::{
    bytes::{self, Bytes},
    files,
};

/// Most bytes of all that is kept.
pub(super) const QUOTA: u64 = 64 * 1024 * 1024;
/// Bytes that are left free on the disk for others.
const SPARED: u64 = 1024 * 1024;
/// How the name of a part ends.
const PART: &str = "part";

/// A blob, as a bundle names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Blob {
    pub(super) sha256: Sha256,
    pub(super) size: u64,
}

/// The cache of an applier. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Cache(PathBuf);

/// A blob that is coming.
#[derive(Debug)]
pub(super) struct Incoming {
    cache: Cache,
    blob: Blob,
    file: File,
    received: u64,
    hashing: Hashing,
}

/// What has come is not the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong;

/// A file of the cache.
struct Kept {
    path: PathBuf,
    sha256: Sha256,
    size: u64,
    is_part: bool,
    used: SystemTime,
}

impl Cache {
    /// That of the applier in this folder.
    pub(super) fn at(folder: &Path) -> Self {
        Self(folder.join("cache"))
    }

    /// Where a whole blob is.
    pub(super) fn path(&self, sha256: Sha256) -> PathBuf {
        self.0.join(sha256.to_string())
    }

    fn part(&self, sha256: Sha256) -> PathBuf {
        self.path(sha256).with_extension(PART)
    }

    /// A blob as it is written somewhere.
    pub(super) fn bytes(&self, blob: &Blob) -> Bytes {
        Bytes::Fetched(self.path(blob.sha256), blob.sha256)
    }

    /// The bytes of a small blob.
    pub(super) fn read(&self, blob: &Blob) -> io::Result<Vec<u8>> {
        fs::read(self.path(blob.sha256))
    }

    /// Whether a blob is whole here.
    pub(super) fn has(&self, blob: &Blob) -> bool {
        fs::metadata(self.path(blob.sha256)).is_ok_and(|found| found.is_file() && found.len() == blob.size)
    }

    /// Those of some blobs that are not here, each once.
    pub(super) fn missing(&self, blobs: impl Iterator<Item = Blob>) -> Vec<Blob> {
        let missing: BTreeSet<Blob> = blobs.filter(|blob| !self.has(blob)).collect();
        missing.into_iter().collect()
    }

    /// Makes room for what is still to come of some blobs. What nothing needs goes first, then
    /// what was not used for longest; never these blobs themselves. Their bundle's other
    /// blobs are among `spared`.
    pub(super) fn make_room(
        &self,
        coming: &[Blob],
        spared: &BTreeSet<Sha256>,
        needed: &BTreeSet<Sha256>,
    ) -> io::Result<()> {
        let mut kept = self.kept()?;
        let left = |blob: &Blob| {
            let part = kept.iter().find(|kept| kept.is_part && kept.sha256 == blob.sha256);
            blob.size.saturating_sub(part.map_or(0, |part| part.size))
        };
        let more: u64 = coming.iter().map(left).sum();
        let mut total: u64 = kept.iter().map(|kept| kept.size).sum();
        kept.retain(|kept| !spared.contains(&kept.sha256));
        kept.sort_by_key(|kept| (needed.contains(&kept.sha256), kept.used));
        for kept in kept {
            if total.saturating_add(more) <= QUOTA {
                break;
            }
            fs::remove_file(&kept.path)?;
            total -= kept.size;
        }
        self.check_disk(more)
    }

    /// Refuses what the disk has no room for, before any of it is fetched.
    fn check_disk(&self, more: u64) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.0)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= more.saturating_add(SPARED) {
            return Ok(());
        }
        let message =
            format!("{more} bytes are to be fetched, and the disk of {} has {free}", self.0.display());
        Err(io::Error::new(io::ErrorKind::StorageFull, message))
    }

    /// Takes away what nothing needs.
    pub(super) fn sweep(&self, needed: &BTreeSet<Sha256>) -> io::Result<()> {
        let unneeded = self.kept()?.into_iter().filter(|kept| !needed.contains(&kept.sha256));
        unneeded.map(|kept| fs::remove_file(kept.path)).fold(Ok(()), io::Result::and)
    }

    pub(super) fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).is_ok_and(|mut entries| entries.next().is_none())
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let path = entry.path();
            let is_part = path.extension().is_some_and(|extension| extension == PART);
            let name = path.file_stem().and_then(|name| name.to_str());
            let Some(sha256) = name.and_then(Sha256::parse_hex) else { continue };
            let found = entry.metadata()?;
            let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            all.push(Kept { path, sha256, size: found.len(), is_part, used });
        }
        Ok(all)
    }

    /// Takes up a blob where its part ends. What had come before is hashed again.
    pub(super) fn receive(&self, blob: Blob) -> io::Result<Incoming> {
        let path = self.part(blob.sha256);
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(&path)?;
        if file.metadata()?.len() > blob.size {
            file.set_len(0)?;
        }
        let mut hashing = Hashing::default();
        let received = bytes::hash(&mut file, &mut hashing)?;
        Ok(Incoming { cache: self.clone(), blob, file, received, hashing })
    }
}

impl Incoming {
    /// How much of it is here.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    pub(super) const fn blob(&self) -> Blob {
        self.blob
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.received == self.blob.size
    }

    /// Takes the next bytes, if they are not more than there should be.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<Result<(), Wrong>> {
        let received = self.received.saturating_add(piece.len() as u64);
        if received > self.blob.size {
            return Ok(Err(Wrong));
        }
        self.file.write_all(piece)?;
        self.hashing.update(piece);
        self.received = received;
        Ok(Ok(()))
    }

    /// All has come: from here on it is in the cache, if it is what it should be. Otherwise
    /// nothing of it is kept.
    pub(super) fn finish(self) -> io::Result<Result<(), Wrong>> {
        if self.hashing.digest() != self.blob.sha256 {
            return self.discard().map(|()| Err(Wrong));
        }
        self.file.sync_all()?;
        fs::rename(self.cache.part(self.blob.sha256), self.cache.path(self.blob.sha256))?;
        files::sync_folder(&self.cache.0).map(Ok)
    }

    /// What has come is of no use.
    pub(super) fn discard(self) -> io::Result<()> {
        fs::remove_file(self.cache.part(self.blob.sha256))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(content: &[u8]) -> Blob {
        Blob { sha256: Sha256::of(content), size: content.len() as u64 }
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        let cache = Cache::at(folder.path());
        (folder, cache)
    }

    fn put(cache: &Cache, content: &[u8]) -> Blob {
        let mut incoming = cache.receive(blob(content)).unwrap();
        incoming.write(content).unwrap().unwrap();
        incoming.finish().unwrap().unwrap();
        blob(content)
    }

    /// A whole blob of this size, sparse: its digest is only its name.
    fn large(cache: &Cache, name: &[u8], size: u64) -> Sha256 {
        let sha256 = Sha256::of(name);
        File::create(cache.path(sha256)).unwrap().set_len(size).unwrap();
        sha256
    }

    #[test]
    fn a_part_is_taken_up_and_only_the_whole_is_there() {
        let (_folder, cache) = cache();
        let whole = blob(b"a whole blob");
        let mut first = cache.receive(whole).unwrap();
        first.write(b"a whole").unwrap().unwrap();
        drop(first); // the process ends
        assert_eq!((cache.has(&whole), cache.missing([whole, whole].into_iter())), (false, vec![whole]));
        let mut second = cache.receive(whole).unwrap();
        assert_eq!((second.received(), second.is_whole()), (7, false));
        assert_eq!(second.write(b" blob and more").unwrap(), Err(Wrong));
        second.write(b" blob").unwrap().unwrap();
        assert!(second.is_whole());
        second.finish().unwrap().unwrap();
        assert!(cache.has(&whole) && cache.read(&whole).unwrap() == b"a whole blob");
        assert_eq!(fs::read_dir(&cache.0).unwrap().count(), 1, "the part has become the whole");
    }

    #[test]
    fn other_bytes_are_not_the_blob() {
        let (_folder, cache) = cache();
        let whole = blob(b"right");
        let mut incoming = cache.receive(whole).unwrap();
        incoming.write(b"wrong").unwrap().unwrap();
        assert_eq!(incoming.finish().unwrap(), Err(Wrong));
        assert!(!cache.has(&whole));
        assert_eq!(cache.receive(whole).unwrap().received(), 0);
    }

    #[test]
    fn a_part_that_is_longer_than_the_whole_is_begun_anew() {
        let (_folder, cache) = cache();
        fs::write(cache.part(Sha256::of(b"x")), b"much longer").unwrap();
        assert_eq!(cache.receive(blob(b"x")).unwrap().received(), 0);
    }

    #[test]
    fn room_is_made_by_what_nothing_needs_and_then_by_what_was_not_used_for_longest() {
        let (_folder, cache) = cache();
        let size = QUOTA / 4;
        let names = [b"needed, old", b"needed, new", b"not needed!", b"its own blo"];
        let [old, new, unneeded, own] = names.map(|name| large(&cache, name, size));
        for (sha256, seconds) in [(old, 10), (new, 20), (unneeded, 30), (own, 1)] {
            let file = File::options().append(true).open(cache.path(sha256)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        }
        let (spared, needed) = ([own].into(), [old, new, own].into());
        let there = || [old, new, unneeded, own].map(|sha256| cache.path(sha256).exists());
        cache.make_room(&[], &spared, &needed).unwrap();
        assert_eq!(there(), [true; 4], "it fits");
        cache.make_room(&[blob(b"x")], &spared, &needed).unwrap();
        assert_eq!(there(), [true, true, false, true]);
        let coming = Blob { sha256: Sha256::of(b"coming"), size: size + 5 };
        let mut part = cache.receive(coming).unwrap();
        part.write(b"first").unwrap().unwrap();
        let spared = [own, coming.sha256].into();
        cache.make_room(&[Blob { size: size - 1, ..coming }], &spared, &needed).unwrap();
        assert_eq!(there(), [true, true, false, true], "what has come of it is not asked for twice");
        cache.make_room(&[Blob { size: size + 1, ..coming }], &spared, &needed).unwrap();
        assert_eq!(there(), [false, true, false, true]);
    }

    #[test]
    fn what_the_disk_has_no_room_for_is_refused_before_it_comes() {
        let (_folder, cache) = cache();
        let coming = Blob { sha256: Sha256::of(b"x"), size: u64::MAX / 2 };
        let refused = cache.make_room(&[coming], &BTreeSet::new(), &BTreeSet::new()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_sweep_leaves_what_is_needed_whole_or_in_part() {
        let (_folder, cache) = cache();
        let (kept, gone) = (put(&cache, b"kept"), put(&cache, b"gone"));
        let (coming, given_up) = (blob(b"coming"), blob(b"given up"));
        for part in [coming, given_up] {
            cache.receive(part).unwrap().write(b"c").unwrap().unwrap();
        }
        cache.sweep(&[kept.sha256, coming.sha256].into()).unwrap();
        assert!(cache.has(&kept) && !cache.has(&gone));
        assert!(cache.part(coming.sha256).exists() && !cache.part(given_up.sha256).exists());
    }
}
