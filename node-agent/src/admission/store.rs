//! Files by their digest, up to a quota.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use muster_common::{
    clock::Clock,
    crash,
    digest::{Hashing, Sha256},
    tuf::{self, About, Target},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Error, Quota};
use crate::platform::files;

/// Bytes that are left free on the disk for others.
const SPARED: u64 = 16 * 1024 * 1024;
/// Copied at once.
const PIECE: usize = 64 * 1024;

/// The folders of the store.
#[derive(Debug)]
pub(super) struct Files {
    whole: PathBuf,
    parts: PathBuf,
    /// What was signed of each file that is whole, by its digest.
    signed: PathBuf,
    quota: Quota,
    /// Room that was made is taken before more is made.
    room: Mutex<()>,
}

/// What was signed of a file, by the name under which it was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signed {
    pub(super) name: String,
    pub(super) about: Option<About>,
}

struct Kept {
    sha256: Sha256,
    size: u64,
    used: SystemTime,
}

impl Files {
    pub(super) fn open(folder: &Path, quota: Quota) -> io::Result<Self> {
        let at = |name| folder.join(name);
        let (whole, parts, signed) = (at("files"), at("parts"), at("signed"));
        for folder in [&whole, &parts, &signed] {
            files::private_folder(folder)?;
        }
        for part in fs::read_dir(&parts)? {
            fs::remove_file(part?.path())?;
        }
        Ok(Self { whole, parts, signed, quota, room: Mutex::new(()) })
    }

    fn path(&self, sha256: Sha256) -> PathBuf {
        self.whole.join(sha256.to_string())
    }

    pub(super) fn has(&self, sha256: Sha256, size: u64) -> bool {
        fs::metadata(self.path(sha256)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    pub(super) fn open_file(&self, sha256: Sha256) -> io::Result<File> {
        File::open(self.path(sha256))
    }

    /// What was signed of a file that is here, by each name under which it was admitted.
    pub(super) fn signed(&self, sha256: Sha256) -> io::Result<Vec<Signed>> {
        match fs::read(self.signed_path(sha256)) {
            Ok(json) => Ok(serde_json::from_slice(&json)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Writes down what is signed of a file that is here. After the file: what is known of
    /// one that never came would stay for ever.
    pub(super) fn note(&self, target: &Target) -> io::Result<()> {
        let _room = self.room.lock();
        fs::metadata(self.path(target.sha256))?;
        let mut signed = self.signed(target.sha256)?;
        let new = Signed { name: target.name.clone(), about: target.about.clone() };
        if signed.contains(&new) {
            return Ok(());
        }
        signed.retain(|one| one.name != new.name);
        signed.push(new);
        files::write_atomically(&self.signed_path(target.sha256), &serde_json::to_vec(&signed)?, 0o600)
    }

    fn signed_path(&self, sha256: Sha256) -> PathBuf {
        self.signed.join(sha256.to_string())
    }

    /// Takes a file away, and what is known of it.
    pub(super) fn remove(&self, sha256: Sha256) -> io::Result<()> {
        match fs::remove_file(self.signed_path(sha256)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(self.path(sha256))
    }

    /// Notes that a file is of use.
    pub(super) fn used(&self, sha256: Sha256, clock: &Clock) -> io::Result<()> {
        let file = File::options().append(true).open(self.path(sha256))?;
        file.set_modified(clock.now().to_system_time())
    }

    /// Copies a file while it is hashed: only what was hashed is ever used.
    pub(super) fn take(&self, target: &Target, content: impl Read) -> Result<(), Error> {
        let _room = self.room.lock();
        self.make_room(target)?;
        let part = self.parts.join(target.sha256.to_string());
        let taken = copy(target, content, &part).and_then(|()| {
            crash::point("admission.copied");
            fs::rename(&part, self.path(target.sha256))?;
            Ok(files::sync_folder(&self.whole)?)
        });
        if taken.is_err() {
            let _ = fs::remove_file(&part);
        }
        taken
    }

    /// Lets go of what was not used for longest, until there is room: in the quota, and on
    /// the disk.
    fn make_room(&self, target: &Target) -> Result<(), Error> {
        let (size, quota) = (target.size, self.quota.now());
        if size > quota {
            return Err(Error::Full { size, quota });
        }
        let mut kept = self.kept()?;
        kept.sort_by_key(|kept| kept.used);
        let mut total: u64 = kept.iter().map(|kept| kept.size).sum();
        for old in kept {
            if total.saturating_add(size) <= quota && check_disk(&self.parts, size).is_ok() {
                break;
            }
            self.remove(old.sha256)?;
            total -= old.size;
        }
        Ok(check_disk(&self.parts, size)?)
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.whole)? {
            let entry = entry?;
            let Some(sha256) = entry.file_name().to_str().and_then(Sha256::parse_hex) else { continue };
            let found = entry.metadata()?;
            let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            all.push(Kept { sha256, size: found.len(), used });
        }
        Ok(all)
    }
}

/// Refuses what the disk has no room for, before any of it is written.
pub(crate) fn check_disk(folder: &Path, size: u64) -> io::Result<()> {
    let disk = rustix::fs::statvfs(folder)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= size.saturating_add(SPARED) {
        return Ok(());
    }
    let message = format!("{size} bytes are to be written, and the disk of {} has {free}", folder.display());
    Err(io::Error::new(io::ErrorKind::StorageFull, message))
}

fn copy(target: &Target, mut content: impl Read, to: &Path) -> Result<(), Error> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let (mut hashing, mut piece, mut size) = (Hashing::default(), vec![0; PIECE], 0_u64);
    while size < target.size {
        let most = usize::try_from(target.size - size).unwrap_or(PIECE).min(PIECE);
        let read = match content.read(&mut piece[..most]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            let name = target.name.clone();
            return Err(tuf::Error::WrongLength { name, size, must: target.size }.into());
        }
        hashing.update(&piece[..read]);
        file.write_all(&piece[..read])?;
        size += read as u64;
    }
    let sha256 = hashing.digest();
    if sha256 != target.sha256 {
        let name = target.name.clone();
        return Err(tuf::Error::WrongDigest { name, sha256, must: target.sha256 }.into());
    }
    Ok(file.sync_all()?)
}
