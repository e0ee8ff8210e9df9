//! A file that somebody else may edit: whether it is another one than when it was looked
//! at last. It costs one `stat`, and nothing is opened.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Follows one file.
#[derive(Debug, Clone)]
pub struct Watched {
    path: PathBuf,
    through_links: bool,
    looked_at: Looked,
}

/// What it was at the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Looked {
    /// Nobody has looked, or it is to be read again, whatever it is.
    Not,
    Absent,
    /// What tells one content from the next.
    Seen(u64, u64, u64, i64, i64),
}

impl Watched {
    /// What has this name; a link is a file of its own.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, through_links: false, looked_at: Looked::Not }
    }

    /// What a link of this name leads to.
    #[must_use]
    pub fn through_links(path: PathBuf) -> Self {
        Self { through_links: true, ..Self::new(path) }
    }

    /// Which.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.look() != Looked::Absent
    }

    /// Whether it is to be read: it is another one than at the last look. Asked before it is
    /// read: a change in between is then seen next time.
    pub fn is_news(&mut self) -> bool {
        let now = self.look();
        std::mem::replace(&mut self.looked_at, now.clone()) != now
    }

    /// What was read does not count: the fault may be the host's, and pass.
    pub fn again(&mut self) {
        self.looked_at = Looked::Not;
    }

    fn look(&self) -> Looked {
        let found =
            if self.through_links { fs::metadata(&self.path) } else { fs::symlink_metadata(&self.path) };
        found.map_or(Looked::Absent, |m| Looked::Seen(m.dev(), m.ino(), m.size(), m.ctime(), m.ctime_nsec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_news_once_and_what_did_not_count_is_news_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let (mut name, mut behind) = (Watched::new(link.clone()), Watched::through_links(link));
        let mut news = || (name.is_news(), behind.is_news());
        assert_eq!((news(), news()), ((true, true), (false, false)), "that none is there is news, too");
        fs::write(&path, "one").unwrap();
        assert_eq!((news(), news()), ((false, true), (false, false)));
        fs::write(folder.path().join("new"), "two").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(news(), (false, true));
        fs::remove_file(&path).unwrap();
        assert_eq!(news(), (false, true));
        assert!(name.is_there() && !behind.is_there());
        name.again();
        assert!(name.is_news());
    }
}
