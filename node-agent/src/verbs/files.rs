//! A place for a file, in this process or in the executor.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_common::{digest::Sha256, text_diff};

use super::{
    client::Client,
    messages::{self, Act, FileVerb, Said},
};
use crate::platform::{
    bytes::Bytes,
    place::{Found, Place, Rights},
};

/// Where a file is, or may come to be. The executor goes the way to it anew for each verb,
/// and makes each durable before it answers.
#[derive(Debug)]
pub struct Spot(Where);

#[derive(Debug)]
enum Where {
    Here(Place),
    There(There),
}

#[derive(Debug)]
struct There {
    client: Client,
    path: PathBuf,
    make: bool,
}

impl There {
    fn verb(&self, act: Act) -> FileVerb {
        FileVerb { make: self.make, ..FileVerb::of(&self.path, act) }
    }

    fn found(&self, act: Act) -> io::Result<Option<Found>> {
        self.client.file(self.verb(act))?.found()
    }

    fn done(&self, act: Act) -> io::Result<()> {
        self.client.file(self.verb(act))?.done()
    }
}

impl Spot {
    pub(super) const fn here(place: Place) -> Self {
        Self(Where::Here(place))
    }

    pub(super) fn there(client: Client, path: &Path, make: bool) -> Self {
        Self(Where::There(There { client, path: path.to_owned(), make }))
    }

    /// What is there now.
    ///
    /// # Errors
    /// If that is no regular file, or cannot be read.
    pub fn read(&self) -> io::Result<Option<Found>> {
        match &self.0 {
            Where::Here(place) => place.read(),
            Where::There(there) => there.found(Act::Look),
        }
    }

    /// The bytes of a small file that everybody on the host may read.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn text(&self) -> io::Result<Option<Vec<u8>>> {
        match &self.0 {
            Where::Here(place) => place.text(text_diff::LARGEST as u64),
            Where::There(there) => there.client.file(there.verb(Act::Text))?.bytes(),
        }
    }

    /// Keeps what is there for the time after the bundle: in this process `keep` does it.
    ///
    /// # Errors
    /// If it cannot be read or kept.
    pub fn keep_original(
        &self,
        keep: impl FnOnce(&mut dyn io::Read) -> io::Result<Sha256>,
    ) -> io::Result<Option<(Sha256, Rights)>> {
        match &self.0 {
            Where::Here(place) => {
                let Some((mut content, rights)) = place.content()? else { return Ok(None) };
                Ok(Some((keep(&mut content)?, rights)))
            }
            Where::There(there) => {
                Ok(there.found(Act::KeepOriginal)?.map(|found| (found.sha256, found.rights)))
            }
        }
    }

    /// The rights of the folder that is there.
    ///
    /// # Errors
    /// If that is no folder.
    pub fn folder(&self) -> io::Result<Option<Rights>> {
        match &self.0 {
            Where::Here(place) => place.folder(),
            Where::There(there) => Ok(there.found(Act::LookFolder)?.map(|found| found.rights)),
        }
    }

    /// Writes new content beside the place. `strict`: as `Place::stage` has it; the
    /// executor always is.
    ///
    /// # Errors
    /// If it cannot be written, or is not what it must be.
    pub fn stage(&self, bytes: &Bytes, rights: Rights, strict: bool) -> io::Result<()> {
        let there = match &self.0 {
            Where::Here(place) => return place.stage(bytes, rights, strict),
            Where::There(there) => there,
        };
        let rights = Some(messages::Rights::from(rights));
        if let Bytes::Kept(path, sha256) = bytes
            && !path.exists()
        {
            // The executor kept it, with its rights.
            let sha256 = sha256.as_bytes().to_vec();
            return there.client.file(FileVerb { sha256, ..there.verb(Act::StageOriginal) })?.done();
        }
        let verb = FileVerb { rights, ..there.verb(Act::Stage) };
        let staged = there.client.stage(&verb, bytes).and_then(super::client::Reply::done);
        if let (Bytes::Fetched(path, _), Err(error)) = (bytes, &staged)
            && error.kind() == io::ErrorKind::InvalidData
        {
            let _ = fs::remove_file(path); // it is not what it was: it is fetched again
        }
        staged
    }

    /// Keeps what is there under a second name.
    ///
    /// # Errors
    /// From the file system.
    pub fn keep(&self) -> io::Result<()> {
        self.act(Act::Keep, Place::keep)
    }

    /// The staged content takes its place.
    ///
    /// # Errors
    /// From the file system.
    pub fn swap_in(&self) -> io::Result<()> {
        self.act(Act::SwapIn, Place::swap_in)
    }

    /// What was kept takes its place again, if anything was.
    ///
    /// # Errors
    /// From the file system.
    pub fn swap_back(&self) -> io::Result<()> {
        self.act(Act::SwapBack, |place| place.swap_back().map(drop))
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// From the file system.
    pub fn remove(&self) -> io::Result<()> {
        self.act(Act::Remove, Place::remove)
    }

    /// Takes away what was staged and what was kept.
    ///
    /// # Errors
    /// From the file system.
    pub fn clear(&self) -> io::Result<()> {
        self.act(Act::Clear, Place::clear)
    }

    /// Takes away what was staged.
    ///
    /// # Errors
    /// From the file system.
    pub fn clear_staged(&self) -> io::Result<()> {
        self.act(Act::ClearStaged, Place::clear_staged)
    }

    /// Makes the folder, for nobody else to enter until its rights are set.
    ///
    /// # Errors
    /// From the file system.
    pub fn make_folder(&self) -> io::Result<()> {
        self.act(Act::MakeFolder, Place::make_folder)
    }

    /// Sets the rights of the folder.
    ///
    /// # Errors
    /// From the file system.
    pub fn set_rights(&self, rights: Rights, strict: bool) -> io::Result<()> {
        match &self.0 {
            Where::Here(place) => place.set_rights(rights, strict),
            Where::There(there) => {
                let rights = Some(rights.into());
                there.client.file(FileVerb { rights, ..there.verb(Act::SetRights) })?.done()
            }
        }
    }

    /// Takes the folder away, if it is empty.
    ///
    /// # Errors
    /// From the file system.
    pub fn remove_folder(&self) -> io::Result<()> {
        self.act(Act::RemoveFolder, Place::remove_folder)
    }

    /// Makes what happened in the folder durable.
    ///
    /// # Errors
    /// From the file system.
    pub fn sync(&self) -> io::Result<()> {
        match &self.0 {
            Where::Here(place) => place.sync(),
            Where::There(_) => Ok(()), // it was, before each answer
        }
    }

    fn act(&self, act: Act, here: impl FnOnce(&Place) -> io::Result<()>) -> io::Result<()> {
        match &self.0 {
            Where::Here(place) => here(place),
            Where::There(there) => there.done(act),
        }
    }
}

/// Of a folder that is there.
#[must_use]
pub fn found(found: &Found) -> Said {
    let rights = Some(found.rights.into());
    Said::Found(messages::Found { sha256: found.sha256.as_bytes().to_vec(), size: found.size, rights })
}
