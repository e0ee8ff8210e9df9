//! A limit of this machine's kernel, higher for a while. Needs root.

use std::{fs, path::PathBuf};

/// It. Dropped: as it was before, also when a test fails.
#[derive(Debug)]
pub struct Raised {
    path: PathBuf,
    before: Option<String>,
}

impl Raised {
    /// At least so much, of a name such as `fs/inotify/max_user_instances`.
    ///
    /// # Panics
    /// If there is no such limit, or it may not be changed.
    #[must_use]
    pub fn to(name: &str, least: u64) -> Self {
        let path = PathBuf::from("/proc/sys").join(name);
        let before = fs::read_to_string(&path).unwrap();
        if before.trim().parse::<u64>().is_ok_and(|limit| limit >= least) {
            return Self { path, before: None };
        }
        fs::write(&path, least.to_string()).unwrap();
        Self { path, before: Some(before) }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(error) = fs::write(&self.path, before)
        {
            eprintln!("{} stays as the test made it: {error}", self.path.display());
        }
    }
}
