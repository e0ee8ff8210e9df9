//! What a node should have, as a session says it.

use bytes::Bytes;
use muster_common::{generation::Generation, sealing::Sealed};
use muster_domain::item::{ItemName, ItemVersion};

/// A difference of desired state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Echoed by the report.
    pub nonce: u64,
    /// Nothing more of this difference follows.
    pub complete: bool,
    /// To have.
    pub upserts: Vec<Upsert>,
    /// Not to have.
    pub removals: Vec<Removal>,
}

/// An item to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upsert {
    /// Which.
    pub item: ItemName,
    /// At which version.
    pub version: ItemVersion,
    /// Its bytes, hashed and kept as sent.
    pub payload: Bytes,
    /// What of it is for this node's eyes only.
    pub sealed: Option<Sealed>,
    /// Its place in a trace; empty: nobody collects that.
    pub traceparent: String,
}

impl Upsert {
    /// How much it adds to a message, without its names.
    pub(in crate::session) fn bytes(&self) -> usize {
        self.payload.len() + self.sealed.as_ref().map_or(0, |sealed| sealed.ciphertext.len())
    }
}

/// An item not to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Which.
    pub item: ItemName,
    /// Newer than what it removes.
    pub generation: Generation,
    /// Its place in a trace; empty: nobody collects that.
    pub traceparent: String,
}
