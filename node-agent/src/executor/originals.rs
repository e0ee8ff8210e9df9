//! Files that were there before a bundle first wrote them, with their rights, until the
//! bundle is gone. Only root can look at them: the daemon knows their digests.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_common::{digest::Sha256, ids::CommandId};
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat};

use crate::{
    platform::{
        bytes,
        files::{private_folder, sync_folder},
        place::{Found, Place, Rights},
    },
    verbs::messages::Kept,
};

/// Most bytes of all that is kept.
const QUOTA: u64 = 1024 * 1024 * 1024;
/// How the name of one begins that is not whole.
const INCOMING: &str = "incoming-";

/// Where they are. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Originals(Arc<Path>);

impl Originals {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        private_folder(folder)?;
        Ok(Self(folder.into()))
    }

    /// Keeps what is at a place. `None`: there is nothing.
    pub(super) fn keep(&self, path: &Path, place: &Place) -> io::Result<Option<Found>> {
        let Some((content, rights)) = place.content()? else { return Ok(None) };
        self.check_room()?;
        let staged = self.0.join(format!("{INCOMING}{}", CommandId::generate()));
        let kept = copy(content, rights, &staged).and_then(|(sha256, size)| {
            fs::rename(&staged, self.of(path, sha256))?;
            sync_folder(&self.0)?;
            Ok(Found { sha256, size, rights })
        });
        if kept.is_err() {
            let _ = fs::remove_file(&staged);
        }
        kept.map(Some)
    }

    /// Writes what was kept of a path beside its place, with the rights that it had.
    pub(super) fn stage(&self, path: &Path, sha256: Sha256, place: &Place) -> io::Result<()> {
        let kept = File::open(self.of(path, sha256)).map_err(|error| {
            let path = path.display();
            io::Error::new(error.kind(), format!("what was at {path} before is not kept here: {error}"))
        })?;
        let stat = fstat(&kept)?;
        let rights = Rights { mode: stat.st_mode & 0o7777, owner: (stat.st_uid, stat.st_gid) };
        place.stage_with(rights, true, |file| {
            if bytes::copy(kept, file)? == sha256 {
                return Ok(());
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("what is kept as {sha256} was changed")))
        })
    }

    /// Takes away all but these.
    pub(super) fn sweep(&self, needed: &[Kept]) -> io::Result<()> {
        let name = |kept: &Kept| Some(self.of(Path::new(&kept.path), Sha256::from_slice(&kept.sha256)?));
        let needed: BTreeSet<PathBuf> = needed.iter().filter_map(name).collect();
        for file in fs::read_dir(&self.0)? {
            let path = file?.path();
            if !needed.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn of(&self, path: &Path, sha256: Sha256) -> PathBuf {
        let place = Sha256::of(path.as_os_str().as_encoded_bytes()).to_string();
        self.0.join(format!("{}-{sha256}", &place[..32]))
    }

    fn check_room(&self) -> io::Result<()> {
        let sizes = fs::read_dir(&self.0)?.map(|file| Ok(file?.metadata()?.len()));
        let used: u64 = sizes.sum::<io::Result<u64>>()?;
        if used < QUOTA {
            return Ok(());
        }
        let message = format!("{used} bytes of files from before bundles are kept; {QUOTA} are the most");
        Err(io::Error::new(io::ErrorKind::StorageFull, message))
    }
}

fn copy(content: impl Read, rights: Rights, to: &Path) -> io::Result<(Sha256, u64)> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    let sha256 = bytes::copy(content, &mut file)?;
    let (user, group) = rights.owner;
    fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    // After the change of owner, which takes special bits away.
    fchmod(&file, Mode::from_raw_mode(rights.mode))?;
    file.sync_all()?;
    Ok((sha256, file.metadata()?.len()))
}
