//! Profiles of the agents' own options.

use std::collections::BTreeMap;

use muster_common::clock::UnixMillis;

/// A named set of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// Key to written value.
    pub values: BTreeMap<String, String>,
    /// Last write.
    pub updated_at: UnixMillis,
    /// By whom.
    pub updated_by: String,
    /// Revision of the last write; the etag.
    pub revision: u64,
}
