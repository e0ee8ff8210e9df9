//! A package becomes a folder: plain files and folders, nothing else, and no more of them
//! than a bound. What is half done is in a folder of another name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use ruzstd::decoding::StreamingDecoder;
use tar::EntryType;

use crate::platform::files;

const MOST_ENTRIES: usize = 10_000;
const MOST_BYTES: u64 = 1024 * 1024 * 1024;
const LONGEST_PATH: usize = 512;
/// What a frame may want to be kept in memory while it is read.
const WINDOW: u64 = 16 * 1024 * 1024;
const SPECIAL_BITS: u32 = 0o7000;

/// Unpacks a `tar.zst` into a folder that is not there yet.
///
/// # Errors
/// `InvalidData`: the package is none. Others are the file system's.
pub(super) fn unpack(package: File, folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(folder)?;
    let decoder = StreamingDecoder::new_with_max_window_size(package, WINDOW)
        .map_err(|error| bad(&format!("it is not compressed with zstd: {error}")))?;
    let mut archive = tar::Archive::new(decoder);
    let mut room = MOST_BYTES;
    for (count, entry) in archive.entries()?.enumerate() {
        if count >= MOST_ENTRIES {
            return Err(bad(&format!("it has more than {MOST_ENTRIES} files")));
        }
        let mut entry = entry.map_err(|error| damaged(&error))?;
        let path = plain(&entry.path().map_err(|error| damaged(&error))?)?;
        let mode = entry.header().mode().map_err(|error| damaged(&error))?;
        if mode & SPECIAL_BITS != 0 {
            return Err(bad(&format!("{} has special permission bits", path.display())));
        }
        match entry.header().entry_type() {
            EntryType::Directory => make_folder(&folder.join(&path))?,
            EntryType::Regular => {
                let to = folder.join(&path);
                make_folder(to.parent().unwrap_or(folder))?;
                room = write(&mut entry, &to, mode, room)?;
            }
            other => return Err(bad(&format!("{} is neither file nor folder: {other:?}", path.display()))),
        }
    }
    sync(folder)
}

/// A path below the folder, without any way out of it.
fn plain(path: &Path) -> io::Result<PathBuf> {
    let wrong = || bad(&format!("{} is no path within the package", path.display()));
    if path.as_os_str().len() > LONGEST_PATH || path.to_str().is_none() {
        return Err(wrong());
    }
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(wrong()),
        }
    }
    Ok(plain)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)
}

/// Writes one file, and answers how much room is left. A name that comes twice is refused.
fn write(from: &mut impl Read, to: &Path, mode: u32, room: u64) -> io::Result<u64> {
    let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    let written = io::copy(&mut from.take(room + 1), &mut file)?;
    let left = room.checked_sub(written).ok_or_else(|| bad("it is too large when it is unpacked"))?;
    file.flush()?;
    file.sync_all()?;
    Ok(left)
}

fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        }
    }
    files::sync_folder(folder)
}

fn damaged(error: &io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the package is damaged: {error}"))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the package cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::depot::tests::{pack, raw};

    fn tried(bytes: &[u8]) -> io::Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("package");
        fs::write(&package, bytes).unwrap();
        unpack(File::open(&package)?, &folder.path().join("out"))
    }

    #[test]
    fn plain_files_come_out_and_everything_else_is_refused() {
        assert!(tried(&pack(&[("a/b", 0o755, b"x")])).is_ok());
        let link = |kind| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o777);
            header.set_size(0);
            raw(&[("evil", header, b"".as_slice())], Some("/etc/passwd"))
        };
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo] {
            assert_eq!(tried(&link(kind)).unwrap_err().kind(), io::ErrorKind::InvalidData, "{kind:?}");
        }
        assert!(tried(&pack(&[("a", 0o4755, b"x")])).is_err(), "special bits");
        assert!(tried(&pack(&[("a", 0o755, b"x"), ("a", 0o755, b"y")])).is_err(), "twice");
        assert!(tried(b"no archive").is_err());
        assert!(plain(Path::new("../a")).is_err() && plain(Path::new("/a")).is_err());
        assert_eq!(plain(Path::new("./a/b")).unwrap(), Path::new("a/b"));
    }
}
