//! One-time links: whoever may run the command line on this host lets a browser in.
//!
//! A link is a file in the state directory that has no content: its name is the SHA-256 of
//! the link's secret, when it ends, and its role. To spend one is to give its file another name,
//! which only one can do; as long as that is there, whoever came by it is let in. So the secret
//! is kept nowhere, and root can make and end links for a control plane that runs as another user.

use std::{
    collections::HashSet,
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
/// Behind the name of one that was spent.
const SPENT: &str = "in";

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

/// A link that waits, or whoever came by it.
struct File {
    path: PathBuf,
    digest: String,
    until: UnixMillis,
    role: Role,
    is_spent: bool,
}

impl Links {
    /// Makes the place, for the user who serves alone. Nobody who came before is known any more.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let links = Self::at(state_dir);
        match fs::DirBuilder::new().mode(0o700).create(&links.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for file in links.all()?.into_iter().filter(|file| file.is_spent) {
            remove(&file.path)?;
        }
        Ok(links)
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

    /// Takes a link for whoever has its secret, who may stay until a time. `None`: there is
    /// none, it has ended, or somebody was first.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn spend(&self, secret: &str, now: UnixMillis, until: UnixMillis) -> io::Result<Option<Spent>> {
        if secret.len() != SECRET {
            return Ok(None);
        }
        let digest = Sha256::of(secret.as_bytes()).to_string();
        let Some(link) = self.waiting(now)?.into_iter().find(|link| link.digest == digest) else {
            return Ok(None);
        };
        let spent = format!("{digest}.{}.{}.{SPENT}", until.0, link.role.as_str());
        match fs::rename(link.path, self.0.join(spent)) {
            Ok(()) => Ok(Some(Spent { name: name(&digest), role: link.role })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of those by whom somebody came who may stay.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn spent(&self) -> io::Result<HashSet<String>> {
        let spent = self.all()?.into_iter().filter(|file| file.is_spent);
        Ok(spent.map(|file| name(&file.digest)).collect())
    }

    /// Ends the one with a name, or all: a link that waits, and whoever came by one. Answers the
    /// names of those that there were.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn end(&self, only: Option<&str>, now: UnixMillis) -> io::Result<Vec<String>> {
        let mut ended = Vec::new();
        for file in self.all()? {
            let is_it = only.is_none_or(|only| name(&file.digest) == only);
            if is_it && remove(&file.path)? && file.until > now {
                ended.push(name(&file.digest));
            }
        }
        Ok(ended)
    }

    /// Those that can be spent; what has ended is removed.
    fn waiting(&self, now: UnixMillis) -> io::Result<Vec<File>> {
        let mut waiting = Vec::new();
        for file in self.all()? {
            if file.until <= now {
                remove(&file.path)?;
            } else if !file.is_spent {
                waiting.push(file);
            }
        }
        Ok(waiting)
    }

    fn all(&self) -> io::Result<Vec<File>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            all.extend(read(entry?.path()));
        }
        Ok(all)
    }
}

/// Removes one. `false`: another one was quicker.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read(path: PathBuf) -> Option<File> {
    let name = path.file_name()?.to_str()?.to_owned();
    let mut parts = name.split('.');
    let (digest, until, role) = (parts.next()?, parts.next()?, parts.next()?);
    let (until, role) = (UnixMillis(until.parse().ok()?), Role::parse(role)?);
    let is_spent = parts.next() == Some(SPENT);
    Some(File { path, digest: digest.to_owned(), until, role, is_spent })
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
        assert_eq!(links.spend(&made.secret, NOW, later(60)).unwrap(), Some(spent));
        assert_eq!(links.spend(&made.secret, NOW, later(60)).unwrap(), None, "once");
        assert_eq!(links.spend(&other.secret, NOW, later(60)).unwrap().unwrap().role, Role::SecurityAdmin);
    }

    #[test]
    fn whoever_came_by_a_link_can_be_ended_and_so_can_the_link() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(folder.path()).unwrap();
        let make = || links.make(Role::Viewer, NOW, later(300)).unwrap();
        let (one, other, waits) = (make(), make(), make());
        for made in [&one, &other] {
            links.spend(&made.secret, NOW, later(3600)).unwrap().unwrap();
        }
        let spent = HashSet::from([one.name.clone(), other.name.clone()]);
        assert_eq!(links.spent().unwrap(), spent);
        assert_eq!(links.end(Some("0123456789ab"), NOW).unwrap(), Vec::<String>::new());
        assert_eq!(links.end(Some(&one.name), NOW).unwrap(), [one.name]);
        assert_eq!(links.spent().unwrap(), HashSet::from([other.name.clone()]));
        let mut all = vec![other.name, waits.name];
        all.sort();
        let mut ended = links.end(None, NOW).unwrap();
        ended.sort();
        assert_eq!(ended, all);
        assert_eq!(links.spend(&waits.secret, NOW, later(60)).unwrap(), None);
        let kept = make();
        links.spend(&kept.secret, NOW, later(3600)).unwrap().unwrap();
        assert!(
            Links::open(folder.path()).unwrap().spent().unwrap().is_empty(),
            "the next process knows nobody"
        );
    }

    #[test]
    fn a_link_ends_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(folder.path()).unwrap();
        let made = links.make(Role::Viewer, NOW, later(300)).unwrap();
        assert_eq!(links.spend(&made.secret, later(300), later(360)).unwrap(), None);
        assert_eq!(fs::read_dir(&links.0).unwrap().count(), 0);
    }

    #[test]
    fn other_secrets_are_none_and_there_are_never_many_links() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Links::at(folder.path()).make(Role::Viewer, NOW, later(1)), Err(Error::Closed)));
        let links = Links::open(folder.path()).unwrap();
        for secret in ["", "../../etc/passwd", &"A".repeat(SECRET), &"A".repeat(5000)] {
            assert_eq!(links.spend(secret, NOW, later(60)).unwrap(), None, "{secret:.20}");
        }
        for _ in 0..MOST {
            links.make(Role::Viewer, NOW, later(1)).unwrap();
        }
        assert!(matches!(links.make(Role::Viewer, NOW, later(1)), Err(Error::TooMany)));
        links.make(Role::Viewer, later(2), later(3)).unwrap();
    }
}
