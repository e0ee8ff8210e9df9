//! `[secrets]`.

use std::path::PathBuf;

use serde::Deserialize;

/// Where the keys of protected contents are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Secrets {
    /// The file of keys; empty: `secrets.key` in the state directory.
    pub key_file: PathBuf,
}

impl Secrets {
    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 1] {
        [(
            "key-file",
            format!("{:?}", self.key_file),
            "Keys of protected contents, which are not in the store. \"\": secrets.key in state-dir. It is \
             made at the first start, and not again while the store has contents that need it; keep a copy of it.",
        )]
    }
}
