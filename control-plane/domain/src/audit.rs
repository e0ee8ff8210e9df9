//! Who did what: entries whose hashes form one chain per replica.

use muster_common::{clock::UnixMillis, digest::Sha256};

/// Who writes, why, when. Every write of the store takes one, so that a write
/// without an actor does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `operator/alice`, `node/…`, `cli/root`, `control-plane/a`.
    pub actor: String,
    /// What is being done: `nodes.update`.
    pub action: String,
    /// When.
    pub at: UnixMillis,
    /// From where.
    pub remote_address: String,
    /// Of the request.
    pub trace_id: String,
}

/// What an entry says beside its stamp.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// On what: `node/…`.
    pub subject: String,
    /// JSON, without secrets; empty: nothing.
    pub before: String,
    /// JSON, without secrets; empty: nothing.
    pub after: String,
    /// The call was refused.
    pub denied: bool,
}

/// One link of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose chain.
    pub replica: String,
    /// From 1, no gaps.
    pub seq: u64,
    /// Who, why, when.
    pub stamp: Stamp,
    /// What.
    pub note: Note,
    /// Hash of the entry before; zero for the first.
    pub previous: Sha256,
    /// Over all of the above.
    pub hash: Sha256,
}
