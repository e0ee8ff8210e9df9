//! Uploads that are not whole: a file for each, written by one stream at a time.
//! How far an upload is, its file says; what the file has after a crash is
//! believed by nobody, since the digest is checked over all of it.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_common::{
    digest::{Hashing, Sha256},
    ids::UploadId,
    tasks,
};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;

use super::error::Error;

/// Bytes read at once when an upload is taken up.
const READ: usize = 64 * 1024;

/// What was announced of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Of the bytes.
    pub sha256: Sha256,
    /// How many.
    pub size_bytes: u64,
}

/// The folder of uploads. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Staging {
    dir: Arc<Path>,
    written: Arc<Mutex<HashSet<UploadId>>>,
}

/// An upload that is being written, by nobody else until this is dropped.
#[derive(Debug)]
pub struct Incoming {
    file: tokio::fs::File,
    path: PathBuf,
    hashing: Hashing,
    received: u64,
    wanted: Wanted,
    turn: Turn,
}

/// An upload that is whole, and has the digest that was announced.
#[derive(Debug)]
pub struct Whole {
    path: PathBuf,
    wanted: Wanted,
    turn: Turn,
}

/// The right to write one upload.
#[derive(Debug)]
struct Turn {
    upload: UploadId,
    written: Arc<Mutex<HashSet<UploadId>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.written.lock().remove(&self.upload);
    }
}

impl Staging {
    pub(super) fn open(dir: PathBuf) -> Result<Self, Error> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| Error::Directory { path: dir.clone(), source })?;
        Ok(Self { dir: dir.into(), written: Arc::default() })
    }

    fn path(&self, upload: UploadId) -> PathBuf {
        self.dir.join(upload.to_string())
    }

    fn turn(&self, upload: UploadId) -> Result<Turn, Error> {
        let taken = self.written.lock().insert(upload);
        taken.then(|| Turn { upload, written: Arc::clone(&self.written) }).ok_or(Error::Busy)
    }

    pub(super) async fn received(&self, upload: UploadId) -> Result<u64, Error> {
        let path = self.path(upload);
        tasks::blocking(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(Error::file("look at", path, source)),
        })
        .await
    }

    pub(super) async fn receive(
        &self,
        upload: UploadId,
        wanted: Wanted,
        offset: u64,
    ) -> Result<Incoming, Error> {
        let (turn, path) = (self.turn(upload)?, self.path(upload));
        tasks::blocking(move || {
            let (file, hashing) = match take_up(&path, offset) {
                Ok(Taken::Up(file, hashing)) => (file, hashing),
                Ok(Taken::Gap(received)) => return Err(Error::Gap { offset, received }),
                Err(source) => return Err(Error::file("open", path, source)),
            };
            let file = tokio::fs::File::from_std(file);
            Ok(Incoming { file, path, hashing, received: offset, wanted, turn })
        })
        .await
    }

    pub(super) async fn discard(&self, upload: UploadId) -> Result<(), Error> {
        let (turn, path) = (self.turn(upload)?, self.path(upload));
        remove(path, turn).await
    }

    pub(super) async fn uploads(&self) -> Result<Vec<UploadId>, Error> {
        let dir = Arc::clone(&self.dir);
        let failed = |source| Error::Directory { path: self.dir.to_path_buf(), source };
        let names = tasks::blocking(move || {
            let names = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name()));
            names.collect::<io::Result<Vec<_>>>()
        });
        let names = names.await.map_err(failed)?;
        Ok(names.into_iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }
}

/// Removes the file of an upload while nobody else can write it.
async fn remove(path: PathBuf, turn: Turn) -> Result<(), Error> {
    tasks::blocking(move || {
        let _turn = turn;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, error)),
            _ => Ok(()),
        }
    })
    .await
}

enum Taken {
    Up(fs::File, Hashing),
    /// So many bytes are there, and they are too few.
    Gap(u64),
}

/// Opens a file at `offset`, which becomes its end, and hashes what is before it.
fn take_up(path: &Path, offset: u64) -> io::Result<Taken> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let received = file.metadata()?.len();
    if received < offset {
        return Ok(Taken::Gap(received));
    }
    if received > offset {
        file.set_len(offset)?;
    }
    let (mut hashing, mut piece, mut left) = (Hashing::default(), vec![0; READ], offset);
    while left > 0 {
        let most = piece.len().min(usize::try_from(left).unwrap_or(READ));
        let read = file.read(&mut piece[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hashing.update(&piece[..read]);
        left -= read as u64;
    }
    file.seek(SeekFrom::Start(offset))?;
    Ok(Taken::Up(file, hashing))
}

impl Incoming {
    /// How many bytes came, with those that were there before.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// If it is more than was announced, or the disk is full or fails; what came
    /// before it stays.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let after = self.received.saturating_add(piece.len() as u64);
        if after > self.wanted.size_bytes {
            return Err(Error::TooLong(self.wanted.size_bytes));
        }
        // The flush waits for the write itself, so that its failure is told here.
        let written = async {
            self.file.write_all(piece).await?;
            self.file.flush().await
        };
        written.await.map_err(|source| Error::file("write", self.path.clone(), source))?;
        self.hashing.update(piece);
        self.received = after;
        Ok(())
    }

    /// Ends the upload: it is on the disk, whole, and has its digest.
    ///
    /// # Errors
    /// If it is not that. What is not whole stays; what has another digest goes.
    pub async fn finish(self) -> Result<Whole, Error> {
        let Self { file, path, hashing, received, wanted, turn } = self;
        if received < wanted.size_bytes {
            return Err(Error::TooShort { received, wanted: wanted.size_bytes });
        }
        let found = hashing.digest();
        if found != wanted.sha256 {
            remove(path, turn).await?;
            return Err(Error::Digest { wanted: wanted.sha256, found });
        }
        file.sync_all().await.map_err(|source| Error::file("write", path.clone(), source))?;
        Ok(Whole { path, wanted, turn })
    }
}

impl Whole {
    /// Of the bytes.
    #[must_use]
    pub const fn sha256(&self) -> Sha256 {
        self.wanted.sha256
    }

    /// How many there are.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.wanted.size_bytes
    }

    /// Takes the file of the upload away, once it is not needed any more.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub async fn remove(self) -> Result<(), Error> {
        remove(self.path, self.turn).await
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
