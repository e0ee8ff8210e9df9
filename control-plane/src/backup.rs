//! The file of a backup: an ordinary tar, so that anyone can look into it.
//!
//! ```text
//! backup.json    what it is
//! muster.db      the store, at one moment
//! ca/…  …        all else that the state directory holds
//! SHA256SUMS     last: without it, the file is not whole
//! ```
//!
//! Never: what is in these files, and when a store may be put back.

mod read;
mod state;
mod write;

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

pub use read::{Reader, Unusable};
pub use state::{STORE, State};
pub use write::Writer;

/// The form of these files.
pub const FORMAT: u32 = 1;

const ABOUT: &str = "backup.json";
const SUMS: &str = "SHA256SUMS";

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// [`FORMAT`].
    pub format: u32,
    /// The program that made it.
    pub made_by: String,
    /// Whose.
    pub trust_domain: String,
    /// Number of the history of the store.
    pub epoch: u64,
    /// Its newest revision.
    pub revision: u64,
    /// The moment of the store that is in it.
    pub taken_at: UnixMillis,
    /// Files that were left out because they are keys, in the state directory.
    pub keys_left_out: Vec<String>,
    /// Where the blobs are, if they are not in it.
    pub blobs_elsewhere: Option<String>,
    /// Where the keys of protected contents are, if they are not in the state directory.
    pub secrets_elsewhere: Option<String>,
}
