//! Verbs about files. Where one may be written the lock file says, as it is read here; the
//! way below its root is gone folder by folder, and through no symbolic link.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream as Waiting,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_common::{crash, digest::Sha256, tasks, text_diff};
use tokio::net::UnixStream;

use super::originals::Originals;
use crate::{
    locks,
    platform::{
        bytes,
        files::{private_folder, resolve},
        place::{Place, Rights},
    },
    verbs::{
        found,
        frame::{self, DONE, MOST_CONTENT, NONE},
        messages::{Act, FileVerb, Found, Needed, Said},
    },
};

/// For each piece of the bytes that follow a request, and for an answer to be taken.
const PIECE: Duration = Duration::from_secs(10);
/// Permission bits that a file may get: none that give its user's rights away.
const FILE_BITS: u32 = 0o777;
/// And a folder: its group may be handed on, and what is in it kept from others.
const FOLDER_BITS: u32 = 0o3777;

/// Does them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Files {
    locks: locks::Reader,
    protected: Arc<[PathBuf]>,
    originals: Originals,
}

impl Files {
    pub(super) fn open(folder: &Path, locks: locks::Reader, protected: Vec<PathBuf>) -> io::Result<Self> {
        private_folder(folder)?;
        let resolved: Vec<PathBuf> = protected.iter().map(|path| resolve(path)).collect();
        let protected = protected.into_iter().chain(resolved).collect();
        Ok(Self { locks, protected, originals: Originals::open(&folder.join("originals"))? })
    }

    /// Does one, with the bytes that follow it, and answers.
    pub(super) async fn attend(&self, verb: FileVerb, stream: UnixStream) -> io::Result<()> {
        let (files, stream) = (self.clone(), stream.into_std()?);
        let work = move || {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(PIECE))?;
            stream.set_write_timeout(Some(PIECE))?;
            let said = files.say(&verb, &stream);
            crash::point("executor.file.done");
            frame::write(&stream, &crate::verbs::messages::Answer { said: Some(said) })
        };
        tasks::blocking(work).await
    }

    pub(super) async fn sweep(&self, needed: Needed) -> io::Result<Said> {
        let originals = self.originals.clone();
        tasks::blocking(move || originals.sweep(&needed.files)).await.map(|()| DONE)
    }

    fn say(&self, verb: &FileVerb, content: &Waiting) -> Said {
        let path = Path::new(&verb.path);
        let locks = self.locks.current();
        let root = if only_looks(verb) { locks.root_of(path) } else { locks.writable_root_of(path) };
        let Some(root) = root else {
            return Said::Locked(locks.refuses_writing(path).unwrap_or_default());
        };
        if self.protects(path) {
            return Said::Locked(format!("the agent itself lives in {}", path.display()));
        }
        self.act(verb, root, path, content).unwrap_or_else(|error| frame::failed(&error))
    }

    /// Whether a path belongs to the agent, by its name or by where it leads.
    fn protects(&self, path: &Path) -> bool {
        let real = resolve(path);
        self.protected.iter().any(|own| path.starts_with(own) || real.starts_with(own))
    }

    fn act(&self, verb: &FileVerb, root: &Path, path: &Path, content: &Waiting) -> io::Result<Said> {
        let act = Act::try_from(verb.act).unwrap_or(Act::Unspecified);
        if act == Act::Missing {
            let missing = Place::missing(root, path)?;
            let names = missing.iter().map(|path| path.display().to_string()).collect();
            return Ok(Said::Names(crate::verbs::messages::Names { names }));
        }
        let place = if verb.make { Some(Place::make(root, path)?) } else { Place::open(root, path)? };
        match place {
            Some(place) => self.at(act, verb, &place, content),
            // A folder on the way is not there: so nothing is.
            None => match act {
                Act::Look | Act::LookFolder | Act::Text | Act::KeepOriginal => Ok(NONE),
                Act::SwapBack | Act::Remove | Act::Clear | Act::ClearStaged | Act::RemoveFolder => Ok(DONE),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    fn at(&self, act: Act, verb: &FileVerb, place: &Place, content: &Waiting) -> io::Result<Said> {
        let path = Path::new(&verb.path);
        match act {
            Act::Look => return Ok(place.read()?.as_ref().map_or(NONE, found)),
            Act::LookFolder => return Ok(place.folder()?.map_or(NONE, folder)),
            Act::Text if !place.is_within_reach()? => return Ok(NONE),
            Act::Text => return Ok(place.text(text_diff::LARGEST as u64)?.map_or(NONE, Said::Bytes)),
            Act::KeepOriginal => {
                return Ok(self.originals.keep(path, place)?.as_ref().map_or(NONE, found));
            }
            Act::Stage => stage(verb, place, content)?,
            Act::StageOriginal => self.originals.stage(path, digest(verb)?, place)?,
            Act::Keep => place.keep()?,
            Act::SwapIn => place.swap_in()?,
            Act::SwapBack => drop(place.swap_back()?),
            Act::Remove => place.remove()?,
            Act::Clear => place.clear()?,
            Act::ClearStaged => place.clear_staged()?,
            Act::MakeFolder => place.make_folder()?,
            Act::SetRights => place.set_rights(rights(verb, FOLDER_BITS)?, true)?,
            Act::RemoveFolder => place.remove_folder()?,
            Act::Unspecified | Act::Missing => return Err(io::ErrorKind::InvalidInput.into()),
        }
        place.sync()?;
        Ok(DONE)
    }
}

/// Whether nothing on the host is another afterwards.
fn only_looks(verb: &FileVerb) -> bool {
    let looks = [Act::Look, Act::LookFolder, Act::Text, Act::Missing];
    !verb.make && Act::try_from(verb.act).is_ok_and(|act| looks.contains(&act))
}

/// Writes the bytes that follow the request beside the place.
fn stage(verb: &FileVerb, place: &Place, content: &Waiting) -> io::Result<()> {
    let (rights, sha256, size) = (rights(verb, FILE_BITS)?, digest(verb)?, verb.size);
    if size > MOST_CONTENT {
        let message = format!("{size} bytes for one file; {MOST_CONTENT} are the most");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    place.stage_with(rights, true, |file| {
        if bytes::copy(content.take(size), file)? == sha256 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the bytes are not those that were meant"))
    })
}

fn digest(verb: &FileVerb) -> io::Result<Sha256> {
    Sha256::from_slice(&verb.sha256).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The rights that are wanted, if nobody gets more by them than there is to have.
fn rights(verb: &FileVerb, bits: u32) -> io::Result<Rights> {
    let rights = verb.rights.map(Rights::from).ok_or(io::ErrorKind::InvalidInput)?;
    if rights.mode & !bits == 0 {
        return Ok(rights);
    }
    let message = format!("mode {:o} of {} is not allowed", rights.mode, verb.path);
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn folder(rights: Rights) -> Said {
    Said::Found(Found { sha256: Vec::new(), size: 0, rights: Some(rights.into()) })
}

#[cfg(test)]
mod tests;
