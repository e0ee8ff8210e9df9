//! Files of the authority: whole or not there at all, and keys for nobody else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::Error;

/// A folder that only its owner may enter.
pub(super) fn folder(path: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// A file that only its owner may read.
pub(super) fn secret(path: &Path, text: &str) -> Result<(), Error> {
    write(path, text, 0o600).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// A file that everyone may read.
pub(super) fn public(path: &Path, text: &str) -> Result<(), Error> {
    write(path, text, 0o644).map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Another one may write the same file, or one beside it, at the same time.
    let staged = path.with_added_extension(format!("{:016x}.new", rand::random::<u64>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&staged, path)) {
        let _ = fs::remove_file(&staged); // why it failed is what counts
        return Err(error);
    }
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The right to change the authority's files, of all processes; given back when dropped.
#[derive(Debug)]
pub struct Alone {
    _locked: File,
}

/// `None`: another one has it.
///
/// # Errors
/// From the file system.
pub fn alone(dir: &Path) -> Result<Option<Alone>, Error> {
    let path = dir.join("lock");
    let failed = |source| Error::Write { path: path.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Alone { _locked: file })),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Removes a file; none is no error.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
