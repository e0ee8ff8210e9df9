//! Files by their digest, up to a quota.

use std::{
    collections::BTreeSet,
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
/// Longest name of a holder.
const LONGEST_HOLDER: usize = 128;

/// The folders of the store.
#[derive(Debug)]
pub(super) struct Files {
    whole: PathBuf,
    parts: PathBuf,
    /// What was signed of each file that is whole, by its digest.
    signed: PathBuf,
    holds: PathBuf,
    quota: Quota,
    /// Room that was made is taken before more is made; and holds stay while one looks.
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
        let (whole, parts, signed, holds) = (at("files"), at("parts"), at("signed"), at("holds"));
        for folder in [&whole, &parts, &signed, &holds] {
            files::private_folder(folder)?;
        }
        for part in fs::read_dir(&parts)? {
            fs::remove_file(part?.path())?;
        }
        Ok(Self { whole, parts, signed, holds, quota, room: Mutex::new(()) })
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
        let (size, held, quota) = (target.size, self.held()?, self.quota.now());
        let mut kept = self.kept()?;
        kept.sort_by_key(|kept| kept.used);
        let mut total: u64 = kept.iter().map(|kept| kept.size).sum();
        let of_held = |kept: &&Kept| held.contains(&kept.sha256);
        let in_use: u64 = kept.iter().filter(of_held).map(|kept| kept.size).sum();
        if in_use.saturating_add(size) > quota {
            return Err(Error::Full { size, quota, held: in_use });
        }
        for old in kept.iter().filter(|kept| !held.contains(&kept.sha256)) {
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

    fn held(&self) -> io::Result<BTreeSet<Sha256>> {
        let mut held = BTreeSet::new();
        for entry in fs::read_dir(&self.holds)? {
            let text = fs::read_to_string(entry?.path())?;
            held.extend(Sha256::parse_hex(text.trim()));
        }
        Ok(held)
    }

    pub(super) fn hold(&self, holder: &str, sha256: Sha256) -> io::Result<()> {
        let path = self.holder(holder)?;
        let _room = self.room.lock();
        fs::metadata(self.path(sha256))?;
        files::write_atomically(&path, sha256.to_string().as_bytes(), 0o600)
    }

    pub(super) fn release(&self, holder: &str) -> io::Result<()> {
        match fs::remove_file(self.holder(holder)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A holder's file. Its name is a file's name here, so it is made of letters, digits and
    /// dashes; a dot may not lead it, nor an ending be that of a file that is being written.
    fn holder(&self, holder: &str) -> io::Result<PathBuf> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if holder.is_empty() || holder.len() > LONGEST_HOLDER || !holder.chars().all(allowed) {
            let message = format!("{holder:?} is no name of a holder");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(self.holds.join(holder))
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
