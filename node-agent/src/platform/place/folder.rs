//! Folders of a bundle: they are made, and their rights set, where they stand.

use std::{io, os::fd::OwnedFd};

use rustix::fs::{self as rfs, Gid, Mode, OFlags, Uid};
use serde::{Deserialize, Serialize};

use super::{FOLDER, Place, at};

/// Who may do what with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

impl Place {
    /// The rights of the folder that is there. Only folders are known here.
    pub fn folder(&self) -> io::Result<Option<Rights>> {
        match rfs::openat(&self.folder, &self.name, FOLDER, Mode::empty()) {
            Ok(folder) => {
                let stat = rfs::fstat(&folder)?;
                Ok(Some(Rights { mode: stat.st_mode & 0o7777, owner: (stat.st_uid, stat.st_gid) }))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                let message = format!("{} is there and is not a folder", self.path.display());
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))
            }
            Err(error) => Err(at(&self.path, error)),
        }
    }

    /// Whether everybody may enter all folders on the way to the place, also those above its
    /// root: otherwise what is there is not everybody's, whatever its own mode says.
    pub fn is_within_reach(&self) -> io::Result<bool> {
        let open = |from: &OwnedFd, name: &str| rfs::openat(from, name, FOLDER, Mode::empty());
        let mut folder = open(&self.folder, ".")?;
        loop {
            let stat = rfs::fstat(&folder)?;
            if stat.st_mode & 0o001 == 0 {
                return Ok(false);
            }
            let above = open(&folder, "..")?;
            let top = rfs::fstat(&above)?;
            if (top.st_dev, top.st_ino) == (stat.st_dev, stat.st_ino) {
                return Ok(true);
            }
            folder = above;
        }
    }

    /// Makes the folder, for nobody else to enter until its rights are set.
    pub fn make_folder(&self) -> io::Result<()> {
        match rfs::mkdirat(&self.folder, &self.name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(at(&self.path, error)),
        }
    }

    /// Sets the rights of the folder. `strict`: an owner that cannot be set is an error
    /// also where the agent is not root; otherwise only root tries.
    pub fn set_rights(&self, rights: Rights, strict: bool) -> io::Result<()> {
        let folder = rfs::openat(&self.folder, &self.name, FOLDER.union(OFlags::RDONLY), Mode::empty())
            .map_err(|error| at(&self.path, error))?;
        let stat = rfs::fstat(&folder)?;
        let differs = (stat.st_uid, stat.st_gid) != rights.owner;
        if differs && (strict || rustix::process::geteuid().is_root()) {
            let (user, group) = rights.owner;
            rfs::fchown(&folder, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
                .map_err(|error| at(&self.path, error))?;
        }
        rfs::fchmod(&folder, Mode::from_raw_mode(rights.mode)).map_err(|error| at(&self.path, error))?;
        rfs::fsync(&folder).map_err(|error| at(&self.path, error))
    }
}
