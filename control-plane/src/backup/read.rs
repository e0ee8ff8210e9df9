//! Reading a backup, and putting its files somewhere.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tar::{Archive, Entries, Entry, EntryType};

use super::{ABOUT, About, FORMAT, SUMS};

/// Longest text in it that is read whole, in bytes.
const MAX_TEXT: u64 = 256 * 1024 * 1024;
/// Read and hashed at once.
const PIECE: usize = 256 * 1024;

/// A backup that is being read.
pub struct Reader<R: Read> {
    archive: Archive<R>,
}

/// Why a file is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read, or what it holds cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It begins with something else.
    #[error("it is not a backup of a control plane: it does not begin with {ABOUT}")]
    Foreign,
    /// A later program made it.
    #[error("it has form {0}; this program knows {FORMAT}: use the program that made it")]
    Newer(u32),
    /// Its end is missing.
    #[error("it is not whole: {SUMS} is missing at its end")]
    CutOff,
    /// A file in it is not what was put in.
    #[error("{0} in it is not what was put in")]
    Changed(String),
    /// It has a name that no backup has.
    #[error("{0:?} in it is not the name of a plain file below the state directory")]
    Name(String),
}

impl<R: Read> Reader<R> {
    /// Around these bytes.
    pub fn new(from: R) -> Self {
        Self { archive: Archive::new(from) }
    }

    /// Puts its files into an empty folder, once `may` has agreed with what it says of
    /// itself, and compares each with its sum. Answers what it is.
    ///
    /// # Errors
    /// If it is not whole and sound, or `may` says no; then what was put into the folder is
    /// good for nothing.
    pub fn put_into<E: From<Unusable>>(
        mut self,
        folder: &Path,
        may: impl FnOnce(&About) -> Result<(), E>,
    ) -> Result<About, E> {
        let mut entries = self.archive.entries().map_err(Unusable::from)?;
        let (about, sum) = about(&mut entries)?;
        may(&about)?;
        let mut found = BTreeMap::from([(ABOUT.to_owned(), sum)]);
        let sums = loop {
            let entry = entries.next().ok_or(Unusable::CutOff)?;
            let mut entry = entry.map_err(|_| Unusable::CutOff)?;
            let name = name(&entry)?;
            if name == Path::new(SUMS) {
                break text(&mut entry)?;
            }
            let sum = put(&mut entry, &folder.join(&name))?;
            found.insert(name.display().to_string(), sum);
        };
        compare(&sums, &found)?;
        Ok(about)
    }
}

fn about<R: Read>(entries: &mut Entries<'_, R>) -> Result<(About, String), Unusable> {
    let first = entries.next().ok_or(Unusable::Foreign)?;
    let mut first = first.map_err(|_| Unusable::Foreign)?;
    if name(&first).ok().as_deref() != Some(Path::new(ABOUT)) {
        return Err(Unusable::Foreign);
    }
    let text = text(&mut first)?;
    let form: Form = serde_json::from_str(&text).map_err(|_| Unusable::Foreign)?;
    if form.format != FORMAT {
        return Err(Unusable::Newer(form.format));
    }
    let about: About = serde_json::from_str(&text).map_err(|_| Unusable::Foreign)?;
    if let Some(name) = about.keys_left_out.iter().find(|name| !is_plain(Path::new(name))) {
        return Err(Unusable::Name(name.clone()));
    }
    Ok((about, hex::encode(Sha256::digest(text.as_bytes()))))
}

/// All that must never change.
#[derive(serde::Deserialize)]
struct Form {
    format: u32,
}

fn is_plain(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Only plain names below a folder.
fn name<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, Unusable> {
    let path = entry.path()?.into_owned();
    if is_plain(&path) && entry.header().entry_type() == EntryType::Regular {
        Ok(path)
    } else {
        Err(Unusable::Name(path.display().to_string()))
    }
}

fn text<R: Read>(entry: &mut Entry<'_, R>) -> Result<String, Unusable> {
    let mut text = String::new();
    let size = entry.size();
    if size > MAX_TEXT || entry.take(MAX_TEXT).read_to_string(&mut text)? as u64 != size {
        return Err(Unusable::CutOff);
    }
    Ok(text)
}

/// Writes a file, and answers its sum. It is on the disk then.
fn put<R: Read>(entry: &mut Entry<'_, R>, to: &Path) -> Result<String, Unusable> {
    if let Some(parent) = to.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let (mode, size) = (entry.header().mode()? & 0o777, entry.size());
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    let (mut hash, mut piece, mut whole) = (Sha256::new(), vec![0; PIECE], 0);
    loop {
        let got = entry.read(&mut piece)?;
        if got == 0 {
            break;
        }
        hash.update(&piece[..got]);
        file.write_all(&piece[..got])?;
        whole += got as u64;
    }
    if whole != size {
        return Err(Unusable::CutOff);
    }
    file.sync_all()?;
    Ok(hex::encode(hash.finalize()))
}

fn compare(sums: &str, found: &BTreeMap<String, String>) -> Result<(), Unusable> {
    let mut left = found.clone();
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").ok_or_else(|| Unusable::Changed(SUMS.to_owned()))?;
        if left.remove(name).as_deref() != Some(sum) {
            return Err(Unusable::Changed(name.to_owned()));
        }
    }
    // What has no sum was put in by somebody else.
    left.into_keys().next().map_or(Ok(()), |name| Err(Unusable::Changed(name)))
}
