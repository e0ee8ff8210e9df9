//! What a node is told of identity: its own, and whose it should believe.

use std::time::Duration;

use bytes::Bytes;

/// Whom a node should trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    /// Rises.
    pub version: u64,
    /// DER; for enrollment and recovery.
    pub roots: Vec<Bytes>,
    /// DER; for sessions.
    pub issuers: Vec<Bytes>,
}

/// What a node should know of identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Newer than the node's.
    pub bundle: Option<TrustBundle>,
    /// Its certificate is to be renewed within this time, for this reason.
    pub renew: Option<(Duration, &'static str)>,
    /// It is locked up: a stable word, and a text for people.
    pub quarantine: Option<(&'static str, &'static str)>,
}
