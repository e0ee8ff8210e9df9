//! The files of a state directory that belong into a backup.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Name of the store's file.
pub const STORE: &str = "muster.db";

/// Files that are of a moment, or come into a backup on another way.
const PASSING: &[&str] = &[
    "muster.db",
    "muster.db-wal",
    "muster.db-shm",
    "serve.lock",
    "addresses.json",
    "uploads",
    "restoring",
    "restored",
    "moving-in",
];

/// What a state directory holds, sorted; each relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// To be kept.
    pub files: Vec<PathBuf>,
    /// Keys that are left out.
    pub keys: Vec<PathBuf>,
}

impl State {
    /// Looks at all of it, and names private keys apart if they are to be left out. Links
    /// are not followed and not kept: whoever set them knows what
    /// is behind them.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn of(dir: &Path, without_keys: bool) -> io::Result<Self> {
        let mut state = Self::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(dir.join(&folder))? {
                let entry = entry?;
                let (path, kind) = (folder.join(entry.file_name()), entry.file_type()?);
                if is_passing(&path) {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() && without_keys && path.extension().is_some_and(|end| end == "key") {
                    state.keys.push(path);
                } else if kind.is_file() {
                    state.files.push(path);
                }
            }
        }
        state.files.sort();
        state.keys.sort();
        Ok(state)
    }
}

/// Whether a file of the state directory is none that a backup brings back.
fn is_passing(path: &Path) -> bool {
    let is_top = path.parent() == Some(Path::new(""));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    is_top && (PASSING.contains(&name) || name.starts_with("backup-") || name.starts_with("before-restore-"))
        || name.ends_with(".partial")
}
