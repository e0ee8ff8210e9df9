//! One-time links: whoever may run the command line on this host lets a browser in.
//!
//! A link is a file in the state directory that has no content: its name is the SHA-256 of
//! the link's secret, when it ends, and its role. To spend one is to remove its file, which
//! only one can do. So the secret is kept nowhere, and root can make links for a control plane
//! that runs as another user.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::access::Role;

/// Links that may wait to be spent.
const MOST: usize = 64;
/// Characters of a secret: 256 bits.
const SECRET: usize = 43;

/// The place of links. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links(PathBuf);

/// A link that was made.
#[derive(Debug)]
pub struct Made {
    /// The secret, this one time.
    pub secret: String,
    /// What the audit calls it.
    pub name: String,
}

/// A link that was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// What the audit calls it.
    pub name: String,
    /// Of whoever came by it.
    pub role: Role,
}

/// Why no link was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has opened the place.
    #[error("there is no fleet console: set listen in [fleet-console] and start `serve` first")]
    Closed,
    /// There are too many.
    #[error("{MOST} links wait to be used; each ends by itself when its time is over")]
    TooMany,
    /// The disk refuses.
    #[error("cannot write the link")]
    Write(#[source] io::Error),
}

struct Waiting {
    path: PathBuf,
    digest: String,
    until: UnixMillis,
    role: Role,
}

impl Links {
    /// Makes the place, for the user who serves alone.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let links = Self::at(state_dir);
        match fs::DirBuilder::new().mode(0o700).create(&links.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(links),
        }
    }

    /// The place, whether it is there or not.
    #[must_use]
    pub fn at(state_dir: &Path) -> Self {
        Self(state_dir.join("console-links"))
    }

    /// Makes a link.
    ///
    /// # Errors
    /// If there is no fleet console, too many links wait, or the disk refuses.
    pub fn make(&self, role: Role, now: UnixMillis, until: UnixMillis) -> Result<Made, Error> {
        if self.waiting(now).map_err(|_| Error::Closed)?.len() >= MOST {
            return Err(Error::TooMany);
        }
        let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let digest = Sha256::of(secret.as_bytes()).to_string();
        let path = self.0.join(format!("{digest}.{}.{}", until.0, role.as_str()));
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(Error::Write)?;
        Ok(Made { secret, name: name(&digest) })
    }

    /// Takes a link for whoever has its secret. `None`: there is none, it has ended, or
    /// somebody was first.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn spend(&self, secret: &str, now: UnixMillis) -> io::Result<Option<Spent>> {
        if secret.len() != SECRET {
            return Ok(None);
        }
        let digest = Sha256::of(secret.as_bytes()).to_string();
        let Some(link) = self.waiting(now)?.into_iter().find(|link| link.digest == digest) else {
            return Ok(None);
        };
        match fs::remove_file(link.path) {
            Ok(()) => Ok(Some(Spent { name: name(&digest), role: link.role })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those that can be spent; what has ended is removed.
    fn waiting(&self, now: UnixMillis) -> io::Result<Vec<Waiting>> {
        let mut waiting = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            match read(path) {
                Some(link) if link.until > now => waiting.push(link),
                // Another one may have been quicker.
                Some(link) => drop(fs::remove_file(link.path)),
                None => {}
            }
        }
        Ok(waiting)
    }
}

fn read(path: PathBuf) -> Option<Waiting> {
    let name = path.file_name()?.to_str()?.to_owned();
    let mut parts = name.split('.');
    let (digest, until, role) = (parts.next()?, parts.next()?, parts.next()?);
    let (until, role) = (UnixMillis(until.parse().ok()?), Role::parse(role)?);
    Some(Waiting { path, digest: digest.to_owned(), until, role })
}

fn name(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn later(seconds: u64) -> UnixMillis {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn a_link_is_spent_once_and_its_secret_is_not_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(folder.path()).unwrap();
        let made = links.make(Role::Viewer, NOW, later(300)).unwrap();
        let other = links.make(Role::SecurityAdmin, NOW, later(300)).unwrap();
        let on_disk: Vec<String> = fs::read_dir(&links.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(on_disk.len(), 2);
        assert!(!on_disk.iter().any(|name| name.contains(&made.secret)), "{on_disk:?}");
        let spent = Spent { name: made.name, role: Role::Viewer };
        assert_eq!(links.spend(&made.secret, NOW).unwrap(), Some(spent));
        assert_eq!(links.spend(&made.secret, NOW).unwrap(), None, "once");
        assert_eq!(links.spend(&other.secret, NOW).unwrap().unwrap().role, Role::SecurityAdmin);
    }

    #[test]
    fn a_link_ends_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(folder.path()).unwrap();
        let made = links.make(Role::Viewer, NOW, later(300)).unwrap();
        assert_eq!(links.spend(&made.secret, later(300)).unwrap(), None);
        assert_eq!(fs::read_dir(&links.0).unwrap().count(), 0);
    }

    #[test]
    fn other_secrets_are_none_and_there_are_never_many_links() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Links::at(folder.path()).make(Role::Viewer, NOW, later(1)), Err(Error::Closed)));
        let links = Links::open(folder.path()).unwrap();
        for secret in ["", "../../etc/passwd", &"A".repeat(SECRET), &"A".repeat(5000)] {
            assert_eq!(links.spend(secret, NOW).unwrap(), None, "{secret:.20}");
        }
        for _ in 0..MOST {
            links.make(Role::Viewer, NOW, later(1)).unwrap();
        }
        assert!(matches!(links.make(Role::Viewer, NOW, later(1)), Err(Error::TooMany)));
        links.make(Role::Viewer, later(2), later(3)).unwrap();
    }
}
