//! Files that are there whole or not at all, also after a loss of power.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

/// Puts `bytes` at `path`: old or new content after any crash, never a part.
/// The folder must exist.
///
/// # Errors
/// From the file system; the old content then stays.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, File::sync_all).and_then(sync_folder)
}

/// The same for what is about this process, of which nothing is asked after the host lost its
/// power: then it may be empty. The disk is not waited for.
///
/// # Errors
/// From the file system; the old content then stays.
pub fn write_passing(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, |_| Ok(())).map(drop)
}

/// The folder that it is in.
fn replace<'a>(
    path: &'a Path,
    bytes: &[u8],
    mode: u32,
    done: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<&'a Path> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.to_owned();
    name.push(".new");
    let staged = folder.join(name);
    let written = write_new(&staged, bytes, mode).and_then(|file| done(&file));
    let written = written.and_then(|()| fs::rename(&staged, path));
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written.map(|()| folder)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    // The process's umask must not have its say.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// Makes renames and removals in a folder durable.
///
/// # Errors
/// From the file system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder that only this user may enter, parents included.
///
/// # Errors
/// From the file system.
pub fn private_folder(path: &Path) -> io::Result<()> {
    folder(path, 0o700)?;
    let permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes a folder and those above it that are missing, each durably.
///
/// # Errors
/// From the file system.
pub fn folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        folder(above, mode)?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => sync_folder(above.unwrap_or(Path::new("."))),
    }
}

/// Nothing that the agent keeps comes to this.
const MOST: u64 = 64 * 1024 * 1024;

/// What stands in a file of a folder that is another user's, perhaps: see `open_plain`.
///
/// # Errors
/// From the file system, or if it is longer than anything that the agent keeps.
pub fn read_plain(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_plain(path)?;
    let size = file.metadata()?.len();
    if size > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {size} bytes")));
    }
    // At once: what is moved while it grows leaves copies behind, and it may be a key.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file of a folder that is another user's, perhaps: no link is followed, and nothing
/// but a file is taken or waited for.
///
/// # Errors
/// From the file system, or if it is no regular file.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(plain()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
}

/// To open by these: no link is followed, nobody waited for.
#[must_use]
pub fn plain() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or_default()
}

/// Where a path leads: links are followed as far as it exists.
#[must_use]
pub fn resolve(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let Ok(real) = above.canonicalize() {
            let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
            return rest.components().filter(|part| matches!(part, Component::Normal(_))).fold(
                real,
                |mut real, part| {
                    real.push(part);
                    real
                },
            );
        }
    }
    path.to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn content_is_replaced_whole_with_the_mode_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        write_atomically(&path, b"first", 0o600).unwrap();
        write_atomically(&path, b"second", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        write_passing(&path, b"third", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing staged is left");
    }

    pub(crate) fn pipe(path: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
    }

    #[test]
    fn only_a_file_of_a_size_that_can_be_is_read_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        assert_eq!(read_plain(&at("file")).unwrap(), b"x");
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let looped = read_plain(&at("link")).unwrap_err().raw_os_error();
        assert_eq!(looped, Some(rustix::io::Errno::LOOP.raw_os_error()));
        pipe(&at("pipe")).unwrap();
        assert_eq!(read_plain(&at("pipe")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(read_plain(folder.path()).is_err());
        File::create(at("long")).unwrap().set_len(MOST + 1).unwrap();
        assert_eq!(read_plain(&at("long")).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_plain(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
