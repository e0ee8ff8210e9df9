//! The socket file: taken over from a process that is dead, never from one that lives.

use std::{
    fs::{self, File, Metadata, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixListener;

use crate::platform::files;

/// A socket that is listened to. Dropped: its file is gone.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Held as long as it is: two agents that begin together do not take it from each other.
    _lock: File,
}

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A process that lives has it.
    #[error("another process listens at {}", .0.display())]
    Taken(PathBuf),
    /// What is there is not ours to remove.
    #[error("{} is there, and no socket", .0.display())]
    Other(PathBuf),
    /// Others could put a socket of their own in its place.
    #[error("others may write to {}", .0.display())]
    Open(PathBuf),
    /// The system says no.
    #[error("cannot listen at {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Socket {
    /// Listens at a path; its folder is made if it is missing. Everybody may connect: who
    /// may call what is decided for each call.
    pub(super) fn bind(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.is_dir() {
            files::folder(folder, 0o755).map_err(io)?;
            // The process's umask must not have its say.
            fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(io)?;
        }
        if is_open_to_others(&fs::metadata(folder).map_err(io)?) {
            return Err(Error::Open(folder.to_owned()));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let lock = File::create(folder.join(name)).map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Taken(path.to_owned())),
            Err(error) => return Err(io(error.into())),
        }
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(io)?;
        fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(io)?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether others could take away what is there, and put something of their own in its
/// place. Root may have a folder for our group in which everybody keeps what is theirs.
fn is_open_to_others(folder: &Metadata) -> bool {
    let mode = folder.permissions().mode();
    let is_ours =
        folder.uid() == 0 && mode & 0o1000 != 0 && folder.gid() == rustix::process::getegid().as_raw();
    mode & 0o002 != 0 || (mode & 0o020 != 0 && !is_ours)
}

/// Removes what a dead process left.
fn clear(path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => Err(Error::Other(path.to_owned())),
        // Somebody who takes no lock may listen there all the same.
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(io)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(Error::Taken(path.to_owned())),
        },
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced_and_what_a_living_one_has_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/agent.sock");
        let first = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert!(matches!(Socket::bind(&path), Err(Error::Taken(_))));
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // leaves its file, as a kill does
        drop(Socket::bind(&path).unwrap());
        let _foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(Error::Taken(_))));
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_and_a_folder_of_all_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path), Err(Error::Other(_))));
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.sock")).unwrap();
        assert!(matches!(Socket::bind(&folder.path().join("link.sock")), Err(Error::Other(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Socket::bind(&folder.path().join("new.sock")), Err(Error::Open(_))));
    }
}
