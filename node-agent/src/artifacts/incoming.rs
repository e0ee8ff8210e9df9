//! Files on their way: the part that has come, by the digest that the whole must have.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use muster_common::{
    clock::UnixMillis,
    digest::{Hashing, Sha256},
};

use crate::{
    admission::{self, Wanted},
    platform::{bytes, files},
};

/// Parts that are kept: of files that are tried in turn.
const MOST_PARTS: usize = 4;
/// What nobody has gone on with for so long is not wanted any more.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file that is coming.
#[derive(Debug)]
pub(super) struct Incoming {
    path: PathBuf,
    file: File,
    size: u64,
    received: u64,
    hashing: Hashing,
}

/// More has come than there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch;

impl Incoming {
    /// Takes a file up where its part ends; what had come is hashed again. Refuses what the
    /// disk has no room for.
    pub(super) fn open(folder: &Path, wanted: &Wanted, now: UnixMillis) -> io::Result<Self> {
        files::private_folder(folder)?;
        let path = part(folder, wanted);
        sweep(folder, &path, now)?;
        let mut file = open_part(&path)?;
        if file.metadata()?.len() > wanted.size {
            file.set_len(0)?;
        }
        let mut hashing = Hashing::default();
        let received = bytes::hash(&mut file, &mut hashing)?;
        admission::check_disk(folder, wanted.size - received)?;
        Ok(Self { path, file, size: wanted.size, received, hashing })
    }

    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.received == self.size
    }

    /// Of what has come.
    pub(super) fn digest(&self) -> Sha256 {
        self.hashing.digest()
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<Result<(), TooMuch>> {
        let received = self.received.saturating_add(piece.len() as u64);
        if received > self.size {
            return Ok(Err(TooMuch));
        }
        if let Err(error) = self.file.write_all(piece) {
            // Some of it may be there: what is on the disk is what was hashed, and no more.
            self.file.set_len(self.received)?;
            return Err(error);
        }
        self.hashing.update(piece);
        self.received = received;
        Ok(Ok(()))
    }

    /// What has come is of no use.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.received, self.hashing) = (0, Hashing::default());
        Ok(())
    }

    /// What has come, from its begin.
    pub(super) fn reader(&self) -> io::Result<File> {
        files::open_plain(&self.path)
    }
}

/// The file is elsewhere by now, also if an earlier process ended before it could say so.
pub(super) fn forget(folder: &Path, wanted: &Wanted) -> io::Result<()> {
    match fs::remove_file(part(folder, wanted)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn part(folder: &Path, wanted: &Wanted) -> PathBuf {
    folder.join(wanted.sha256.to_string())
}

/// A part, and nothing that somebody else put in its place.
fn open_part(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    let file =
        options.read(true).append(true).create(true).mode(0o600).custom_flags(files::plain()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no regular file", path.display())))
}

/// Of many parts the newest stay, and none for long.
fn sweep(folder: &Path, current: &Path, now: UnixMillis) -> io::Result<()> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path != current {
            let used = fs::symlink_metadata(&path)?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            parts.push((used, path));
        }
    }
    parts.sort();
    let oldest = now.to_system_time().checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH);
    let old = parts.partition_point(|(used, _)| *used < oldest);
    let surplus = old.max(parts.len().saturating_sub(MOST_PARTS - 1));
    parts.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}
