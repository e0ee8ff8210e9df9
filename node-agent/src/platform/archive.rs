//! Archives of releases and extensions (`.tar.zst`), unpacked into a folder that nothing in
//! them leads out of.

use std::{
    cell::Cell,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use ruzstd::decoding::StreamingDecoder;
use tar::EntryType;

use super::files;

/// Read at once.
const PIECE: usize = 64 * 1024;
/// Longest way to a file, in bytes.
const LONGEST_PATH: usize = 512;
/// What may stand between the contents of two files: names of any kind take memory.
const MOST_BETWEEN: u64 = 32 * 1024;
/// Bits of a mode that give a program more than its user has.
const SPECIAL_BITS: u32 = 0o7000;

/// What an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files and folders.
    pub entries: usize,
    /// What a frame may want to be kept in memory while it is read, in bytes.
    pub window: u64,
    /// Whether a mode may have special bits. They come to nothing.
    pub special_bits: bool,
}

/// Unpacks an archive into a folder that is made for it, and makes all of it durable.
/// `told`: how many bytes are written. Files belong to who unpacks; of their modes only
/// whether they are programs is taken.
///
/// # Errors
/// `InvalidData`: it is no such archive, holds what is neither file nor folder, a name that
/// leads elsewhere or stands twice, or more than it may. Others: from the file system. What
/// was written until then is left.
pub fn unpack(archive: impl Read, folder: &Path, most: Most, mut told: impl FnMut(u64)) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(folder)?;
    let plain = StreamingDecoder::new_with_max_window_size(archive, most.window)
        .map_err(|error| bad(format!("it is not compressed with zstd: {error}")))?;
    let budget = Rc::new(Cell::new(MOST_BETWEEN));
    let mut archive = tar::Archive::new(Metered { inner: plain, left: Rc::clone(&budget) });
    let (mut left, mut folders) = (most.bytes, vec![folder.to_owned()]);
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        if number >= most.entries {
            return Err(bad(format!("it holds more than {} files", most.entries)));
        }
        let path = inside(&entry.path().map_err(|error| damaged(&error))?)?;
        if path.as_os_str().is_empty() {
            continue; // the folder itself
        }
        let mode = entry.header().mode().map_err(|error| damaged(&error))?;
        if mode & SPECIAL_BITS != 0 && !most.special_bits {
            return Err(bad(format!("{} has special permission bits", path.display())));
        }
        let at = folder.join(&path);
        match entry.header().entry_type() {
            EntryType::Directory => make(folder, &path, &mut folders)?,
            EntryType::Regular => {
                make(folder, path.parent().unwrap_or(Path::new("")), &mut folders)?;
                // `left` is the limit of these.
                budget.set(u64::MAX);
                left = write(&mut entry, &at, mode & 0o111 != 0, left)?;
                told(most.bytes - left);
            }
            other => return Err(bad(format!("{} is neither file nor folder ({other:?})", path.display()))),
        }
        budget.set(MOST_BETWEEN);
    }
    // The innermost first: a folder that is durable names what is.
    folders.iter().rev().try_for_each(|folder| files::sync_folder(folder))?;
    folder.parent().map_or(Ok(()), files::sync_folder)
}

/// Gives only so many bytes: whoever reads takes a name, however long it says that it is, into
/// memory before it can be looked at.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 && !to.is_empty() {
            return Err(bad(format!("more than {MOST_BETWEEN} bytes stand between two files of it")));
        }
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(to.len());
        let read = self.inner.read(&mut to[..most])?;
        self.left.set(self.left.get() - read as u64);
        Ok(read)
    }
}

/// The way from the folder on, if it is one that stays there.
fn inside(path: &Path) -> io::Result<PathBuf> {
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => Some(Some(name.to_owned())),
        Component::CurDir => Some(None),
        _ => None,
    };
    let parts: Option<Vec<_>> = path.components().map(plain).collect();
    let parts = parts.ok_or_else(|| bad(format!("{} leads elsewhere", path.display())))?;
    if path.as_os_str().len() > LONGEST_PATH || path.to_str().is_none() {
        return Err(bad(format!("a name in it is no text of at most {LONGEST_PATH} bytes")));
    }
    Ok(parts.into_iter().flatten().collect())
}

/// Makes the folders on a way that are not there yet.
fn make(folder: &Path, path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut at = folder.to_owned();
    for part in path.components() {
        at.push(part);
        match fs::DirBuilder::new().mode(0o755).create(&at) {
            Ok(()) => made.push(at.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && at.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(bad(format!("{} is a file and a folder", path.display())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes one file; gives how many bytes others may still have.
fn write(from: &mut impl Read, at: &Path, is_program: bool, mut left: u64) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at);
    let mut file: File = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => bad(format!("{} stands in it twice", at.display())),
        _ => error,
    })?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).map_err(|error| damaged(&error))?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or_else(|| bad("it holds more than it may".to_owned()))?;
        file.write_all(&piece[..read])?;
    }
    file.set_permissions(fs::Permissions::from_mode(if is_program { 0o755 } else { 0o644 }))?;
    file.sync_all()?;
    Ok(left)
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn damaged(error: &io::Error) -> io::Error {
    bad(format!("it is damaged: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use tar::{Builder, Header};

    use super::*;

    const MOST: Most = Most { bytes: 1000, entries: 10, window: 1 << 20, special_bits: true };

    fn entry(kind: EntryType, name: &str, mode: u32, size: usize) -> Header {
        let mut header = Header::new_gnu();
        // By its bytes: what a path may not be is what is tried.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_cksum();
        header
    }

    /// An archive of these files.
    pub(crate) fn packed(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, mode, content) in files {
            builder.append(&entry(EntryType::Regular, name, *mode, content.len()), *content).unwrap();
        }
        compress_to_vec(&builder.into_inner().unwrap()[..], CompressionLevel::Uncompressed)
    }

    fn unpacked(archive: &[u8]) -> (io::Result<()>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let done = unpack(archive, &folder.path().join("to"), MOST, |_| {});
        (done, folder)
    }

    #[test]
    fn files_and_folders_come_out_with_plain_modes() {
        let archive = packed(&[("./bin/tool", 0o4777, b"run"), ("etc/x/conf", 0o666, b"x")]);
        let (done, folder) = unpacked(&archive);
        done.unwrap();
        let at = |path: &str| folder.path().join("to").join(path);
        assert_eq!(fs::read(at("bin/tool")).unwrap(), b"run");
        let mode = |path: &str| fs::metadata(at(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("bin/tool"), mode("etc/x/conf")), (0o755, 0o644));
    }

    #[test]
    fn nothing_leads_out_and_nothing_but_files_and_folders_is_taken() {
        for name in ["../x", "/etc/x", "a/../../x", ".."] {
            let done = unpacked(&packed(&[(name, 0o644, b"x")]));
            assert_eq!(done.0.unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
            assert!(!done.1.path().join("x").exists());
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo] {
            let mut builder = Builder::new(Vec::new());
            builder.append(&entry(kind, "x", 0o644, 0), io::empty()).unwrap();
            let packed = compress_to_vec(&builder.into_inner().unwrap()[..], CompressionLevel::Uncompressed);
            assert_eq!(unpacked(&packed).0.unwrap_err().kind(), io::ErrorKind::InvalidData, "{kind:?}");
        }
    }

    #[test]
    fn long_names_are_taken_and_endless_ones_are_not() {
        let long = |length: usize, kind: EntryType| {
            let name = vec![b'a'; length];
            let header = |kind, size: usize| entry(kind, "x", 0o644, size);
            let mut builder = Builder::new(Vec::new());
            builder.append(&header(kind, name.len()), &name[..]).unwrap();
            builder.append(&header(EntryType::Regular, 1), &b"x"[..]).unwrap();
            compress_to_vec(&builder.into_inner().unwrap()[..], CompressionLevel::Uncompressed)
        };
        let (done, folder) = unpacked(&long(200, EntryType::GNULongName));
        done.unwrap();
        assert_eq!(fs::read(folder.path().join("to").join("a".repeat(200))).unwrap(), b"x");
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let error = unpacked(&long(1 << 20, kind)).0.unwrap_err();
            assert!(error.to_string().contains("stand between two files"), "{kind:?}: {error}");
        }
    }

    #[test]
    fn special_bits_are_refused_where_they_may_not_be() {
        let folder = tempfile::tempdir().unwrap();
        let most = Most { special_bits: false, ..MOST };
        let done =
            |mode, to| unpack(&packed(&[("a", mode, b"x")])[..], &folder.path().join(to), most, |_| {});
        assert_eq!(done(0o4755, "special").unwrap_err().kind(), io::ErrorKind::InvalidData);
        done(0o755, "plain").unwrap();
    }

    #[test]
    fn too_much_too_many_twice_and_damaged_are_refused() {
        let big = vec![0; 1001];
        let many: Vec<String> = (0..11).map(|n| format!("f{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), 0o644, &b""[..])).collect();
        let mut cut = packed(&[("x", 0o644, b"x")]);
        cut.truncate(cut.len() / 2);
        let twice = packed(&[("x", 0o644, b"1"), ("x", 0o644, b"2")]);
        let both = packed(&[("x", 0o644, b"1"), ("x/y", 0o644, b"2")]);
        for archive in [packed(&[("x", 0o644, &big)]), packed(&many), twice, both, cut, b"text".to_vec()] {
            assert_eq!(unpacked(&archive).0.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
