//! `[artifacts]`.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::template::quoted;

/// With what trust in the signed repository begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Artifacts {
    /// File with root metadata; empty: nothing is published here.
    pub root: PathBuf,
}

impl Artifacts {
    /// The root metadata. `None`: none is named.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn pinned(&self) -> std::io::Result<Option<Bytes>> {
        if self.root.as_os_str().is_empty() {
            return Ok(None);
        }
        Ok(Some(Bytes::from(fs::read(&self.root)?)))
    }

    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 1] {
        [(
            "root",
            quoted(self.root.display()),
            "The repository's root.json, from whoever releases: what is published is checked against it, as agents \
             check it against theirs. \"\": nothing can be published.",
        )]
    }
}
