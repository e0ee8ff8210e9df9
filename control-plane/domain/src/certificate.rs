//! A node's certificates: the current one, and the next until it is first used.

mod serial;

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};
pub use serial::Serial;

/// What is kept of an issued certificate; not the certificate itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its number.
    pub serial: Serial,
    /// Counts a node's certificates from 1.
    pub generation: u64,
    /// Slot of the authority that issued it.
    pub issuer: u32,
    /// Begin of validity.
    pub not_before: UnixMillis,
    /// End of validity.
    pub not_after: UnixMillis,
    /// What a repeated request is answered with. `None` in memory: there may be a million
    /// nodes, and the store has it.
    pub leaf: Option<Box<Leaf>>,
}

/// The certificate itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// SHA-256 of the public key.
    pub key_sha256: Vec<u8>,
    /// The certificate. Empty in memory, where that of the next one is kept without it.
    pub der: Vec<u8>,
}

impl Issued {
    /// The certificate; empty where it is not kept.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.leaf.as_ref().map_or(&[], |leaf| &leaf.der)
    }

    /// Whether it is of the public key with this SHA-256; never, where that is not kept.
    #[must_use]
    pub fn is_of_key(&self, key_sha256: &[u8]) -> bool {
        self.leaf.as_ref().is_some_and(|leaf| leaf.key_sha256 == key_sha256)
    }

    /// From when on its node renews it: half of its life.
    #[must_use]
    pub fn renew_after(&self) -> UnixMillis {
        self.not_before + self.not_after.since(self.not_before) / 2
    }
}

/// The certificates with which a node may speak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCertificate {
    /// In use.
    pub current: Issued,
    /// Issued, not yet used. Its first use makes it current.
    pub next: Option<Box<Issued>>,
}

/// What a certificate shown by a peer is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The one in use.
    Current,
    /// The next one, for the first time: it becomes current.
    Next,
    /// One that was replaced, or never issued to this node.
    Superseded,
}

impl NodeCertificate {
    /// Whether the node has no certificate that is still valid.
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.current.not_after <= now && self.next.as_ref().is_none_or(|next| next.not_after <= now)
    }

    /// Judges a serial shown in a handshake.
    #[must_use]
    pub fn judge(&self, serial: &str) -> Shown {
        if self.current.serial == *serial {
            Shown::Current
        } else if self.next.as_ref().is_some_and(|next| next.serial == *serial) {
            Shown::Next
        } else {
            Shown::Superseded
        }
    }

    /// Of all of them.
    pub fn serials(&self) -> impl Iterator<Item = &Serial> {
        self.both().map(|issued| &issued.serial)
    }

    /// Slots of the authority that issued them.
    pub fn issuers(&self) -> impl Iterator<Item = u32> {
        self.both().map(|issued| issued.issuer)
    }

    /// The current one, and the next if there is one.
    pub fn both(&self) -> impl Iterator<Item = &Issued> {
        std::iter::once(&self.current).chain(self.next.as_deref())
    }

    /// Number of the newest one.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.next.as_ref().map_or(0, |next| next.generation).max(self.current.generation)
    }

    /// Whether this pair is not older than another one of the same node: each
    /// certificate has a higher number than those before it, and a pair moves on
    /// by a new one or by the first use of the next one.
    #[must_use]
    pub fn is_as_new_as(&self, other: &Self) -> bool {
        (self.newest(), self.current.generation) >= (other.newest(), other.current.generation)
    }

    /// What memory keeps of them: all but the leaves. Of the next one also the key: it may be
    /// asked for again.
    #[must_use]
    pub fn without_leaves(mut self) -> Self {
        self.current.leaf = None;
        if let Some(leaf) = self.next.as_mut().and_then(|next| next.leaf.as_mut()) {
            leaf.der = Vec::new();
        }
        self
    }

    /// After the first use of the next one.
    #[must_use]
    pub fn promoted(self) -> Self {
        match self.next {
            Some(next) => Self { current: *next, next: None },
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(current: u64, next: Option<u64>) -> NodeCertificate {
        let issued = |generation: u64| Issued {
            serial: format!("{generation:x}").into(),
            generation,
            issuer: 1,
            not_before: UnixMillis(0),
            not_after: UnixMillis(0),
            leaf: None,
        };
        NodeCertificate { current: issued(current), next: next.map(issued).map(Box::new) }
    }

    #[test]
    fn a_pair_is_newer_after_an_issue_and_after_a_first_use() {
        let story = [pair(1, None), pair(1, Some(2)), pair(2, None), pair(2, Some(3)), pair(2, Some(4))];
        for (n, earlier) in story.iter().enumerate() {
            assert!(earlier.is_as_new_as(earlier));
            for later in &story[n + 1..] {
                assert!(later.is_as_new_as(earlier) && !earlier.is_as_new_as(later));
            }
        }
        assert_eq!(pair(1, Some(2)).promoted(), pair(2, None));
    }
}
