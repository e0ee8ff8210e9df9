//! A place for a file below an allowed root. The way from the root to the place
//! is walked folder by folder, each opened from the one before and never through
//! a symbolic link: whoever owns a folder on the way cannot lead the agent away.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{self as rfs, AtFlags, Gid, Mode, OFlags, Uid};

mod folder;

use muster_common::digest::Sha256;

pub use folder::Rights;

use super::{
    bytes::{self, Bytes},
    files,
};

/// A file that was there before is kept only up to this size.
const MAX_KEPT: u64 = 16 * 1024 * 1024;

/// A folder, opened, and a name in it.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Of its bytes.
    pub sha256: Sha256,
    /// How many.
    pub size: u64,
    /// Who may do what with it.
    pub rights: Rights,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn at(path: &Path, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The folders between root and place, from the root on. The place lies below
/// the root, in normal form: the lock file has seen to that.
fn way<'a>(root: &Path, path: &'a Path) -> io::Result<(Vec<&'a OsStr>, &'a OsStr)> {
    let below = path.strip_prefix(root).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut parts: Vec<&OsStr> = below.iter().collect();
    let name = parts.pop().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok((parts, name))
}

impl Place {
    /// Opens a place. `None`: a folder on the way does not exist.
    pub fn open(root: &Path, path: &Path) -> io::Result<Option<Self>> {
        Self::walk(root, path, false)
    }

    /// Opens a place and makes the folders that are missing on the way.
    pub fn make(root: &Path, path: &Path) -> io::Result<Self> {
        Self::walk(root, path, true)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Folders on the way that do not exist, from the root on.
    pub fn missing(root: &Path, path: &Path) -> io::Result<Vec<PathBuf>> {
        let (parts, _) = way(root, path)?;
        let mut folder = root.to_owned();
        let mut missing = Vec::new();
        for part in parts {
            folder.push(part);
            if !missing.is_empty() || !folder.exists() {
                missing.push(folder.clone());
            }
        }
        Ok(missing)
    }

    fn walk(root: &Path, path: &Path, make: bool) -> io::Result<Option<Self>> {
        let (parts, name) = way(root, path)?;
        if make {
            // The root itself is the administrator's word: it may be a link, and is made if it is missing.
            files::folder(root, 0o755)?;
        }
        let opened = rfs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let mut folder = match opened {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => other.map_err(|error| at(root, error))?,
        };
        for part in parts {
            if make {
                match rfs::mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                    Ok(()) => rfs::fsync(&folder)?,
                    Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(at(path, error)),
                }
            }
            folder = match rfs::openat(&folder, part, FOLDER, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                    return Err(not_a_folder(path, part));
                }
                other => other.map_err(|error| at(path, error))?,
            };
        }
        Ok(Some(Self { folder, name: name.to_owned(), path: path.to_owned() }))
    }

    /// What is there now. Only regular files are known here.
    pub fn read(&self) -> io::Result<Option<Found>> {
        let Some((file, found)) = self.open_file()? else { return Ok(None) };
        Ok(Some(Found { sha256: bytes::digest(file.take(MAX_KEPT))?, ..found }))
    }

    /// The file that is there, to read, and its rights.
    pub fn content(&self) -> io::Result<Option<(impl io::Read, Rights)>> {
        Ok(self.open_file()?.map(|(file, found)| (file.take(MAX_KEPT), found.rights)))
    }

    /// The bytes of the file that is there, if it is small and everybody may read it.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn text(&self, most: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((file, found)) = self.open_file()? else { return Ok(None) };
        if found.size > most || found.rights.mode & 0o004 == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The file that is there, and what is known of it without a look at its bytes.
    fn open_file(&self) -> io::Result<Option<(File, Found)>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rfs::openat(&self.folder, &self.name, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(self.not_a_file()),
            other => File::from(other.map_err(|error| at(&self.path, error))?),
        };
        let stat = rfs::fstat(&file)?;
        if rfs::FileType::from_raw_mode(stat.st_mode) != rfs::FileType::RegularFile {
            return Err(self.not_a_file());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > MAX_KEPT {
            let message = format!("{}: what is there is larger than {MAX_KEPT} bytes", self.path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let rights = Rights { mode: stat.st_mode & 0o7777, owner: (stat.st_uid, stat.st_gid) };
        Ok(Some((file, Found { sha256: Sha256::ZERO, size, rights })))
    }

    /// Writes the new content beside the place. `strict`: an owner that cannot be set is
    /// an error also where the agent is not root; otherwise only root tries.
    pub fn stage(&self, bytes: &Bytes, rights: Rights, strict: bool) -> io::Result<()> {
        self.stage_with(rights, strict, |file| bytes.write_to(file))
    }

    /// The same, with what writes the bytes.
    pub fn stage_with(
        &self,
        rights: Rights,
        strict: bool,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.unlink(&self.staged())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rfs::openat(&self.folder, self.staged(), flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|error| at(&self.path, error))?);
        let io = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        if let Err(error) = write(&mut file) {
            let _ = self.clear_staged(); // what is half there is of no use; it goes with the change at the latest
            return Err(io(error));
        }
        let Rights { mode, owner: (user, group) } = rights;
        if strict || rustix::process::geteuid().is_root() {
            rfs::fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
                .map_err(|error| at(&self.path, error))?;
        }
        // After the change of owner, which takes special bits away; the umask has no say.
        rfs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|error| at(&self.path, error))?;
        file.sync_all().map_err(io)
    }

    /// Keeps what is there under a second name.
    pub fn keep(&self) -> io::Result<()> {
        self.unlink(&self.kept())?;
        rfs::linkat(&self.folder, &self.name, &self.folder, self.kept(), AtFlags::empty())
            .map_err(|error| at(&self.path, error))
    }

    /// The staged content takes its place.
    pub fn swap_in(&self) -> io::Result<()> {
        rfs::renameat(&self.folder, self.staged(), &self.folder, &self.name)
            .map_err(|error| at(&self.path, error))
    }

    /// What was kept takes its place again. `false`: nothing was kept.
    pub fn swap_back(&self) -> io::Result<bool> {
        match rfs::renameat(&self.folder, self.kept(), &self.folder, &self.name) {
            // Two names of one file: rename leaves both, and says nothing.
            Ok(()) => self.unlink(&self.kept()).map(|()| true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(at(&self.path, error)),
        }
    }

    /// Takes the file away.
    pub fn remove(&self) -> io::Result<()> {
        self.unlink(&self.name)
    }

    /// Takes away what was staged and what was kept.
    pub fn clear(&self) -> io::Result<()> {
        self.unlink(&self.staged())?;
        self.unlink(&self.kept())
    }

    /// Takes away what was staged.
    pub fn clear_staged(&self) -> io::Result<()> {
        self.unlink(&self.staged())
    }

    /// Takes the folder of this name away, if it is empty.
    pub fn remove_folder(&self) -> io::Result<()> {
        use rustix::io::Errno;
        match rfs::unlinkat(&self.folder, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(at(&self.path, error)),
        }
    }

    /// Makes what happened in the folder durable.
    pub fn sync(&self) -> io::Result<()> {
        rfs::fsync(&self.folder).map_err(|error| at(&self.path, error))
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        use rustix::io::Errno;
        match rfs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A file system that is read-only says so before it looks for the name.
            Err(Errno::ROFS) if !self.has(name) => Ok(()),
            Err(error) => Err(at(&self.path, error)),
        }
    }

    fn has(&self, name: &OsStr) -> bool {
        rfs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    fn staged(&self) -> OsString {
        self.beside("new")
    }

    fn kept(&self) -> OsString {
        self.beside("old")
    }

    /// A name beside the place, never longer than a name may be.
    fn beside(&self, what: &str) -> OsString {
        let digest = Sha256::of(self.name.as_encoded_bytes()).to_string();
        format!(".muster-{what}-{}", &digest[..16]).into()
    }

    fn not_a_file(&self) -> io::Error {
        let message = format!("{} is there and is not a regular file", self.path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    }
}

fn not_a_folder(path: &Path, part: &OsStr) -> io::Error {
    let message = format!(
        "{}: {} is not a folder; symbolic links are not followed",
        path.display(),
        part.to_string_lossy()
    );
    io::Error::new(io::ErrorKind::NotADirectory, message)
}
