//! One enrolled host.

use muster_common::{
    clock::UnixMillis,
    digest::Claimed,
    generation::Generation,
    ids::{LedgerId, NodeId},
};

use crate::{
    assignment::Touch,
    certificate::NodeCertificate,
    enrolled_with::EnrolledWith,
    facts::Known,
    item::ItemState,
    labels::Labels,
    liveness::Liveness,
    sighting::{Kept, Quarantine},
};

/// All the control plane keeps about one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// For ever.
    pub id: NodeId,
    /// Given by people; changes at any time.
    pub display_name: String,
    /// What operators say about it.
    pub labels: Labels,
    /// What it says about itself.
    pub facts: Known,
    /// Hash of the facts as the agent encoded them; empty until reported.
    pub facts_sha256: Claimed,
    /// Last stored state of liveness; the live truth is in memory.
    pub liveness: Liveness,
    /// Its items as it last reported them, sorted by name.
    pub items: Vec<ItemState>,
    /// What rollouts have given to it.
    pub touches: Vec<Touch>,
    /// Current and next.
    pub certificate: NodeCertificate,
    /// SHA-256 of its public key at enrollment, for repeated enrolls. `None` in memory: the
    /// store is asked.
    pub enrolled_key_sha256: Option<Box<Claimed>>,
    /// Claim at enrollment.
    pub machine_fingerprint: Claimed,
    /// By what it was let in.
    pub enrolled_with: EnrolledWith,
    /// When it enrolled.
    pub created_at: UnixMillis,
    /// Of its last Hello. `None`: never connected.
    pub ledger: Option<LedgerMark>,
    /// Newest trust bundle that it acknowledged.
    pub trust_bundle_version: u64,
    /// How often it recovered its identity since a person last said yes to it.
    pub recoveries: u32,
    /// Why it gets nothing, if so.
    pub quarantine: Option<Box<Quarantine>>,
    /// As which process alone it was let out of quarantine.
    pub kept: Option<Box<Kept>>,
    /// The newest that it was told of a history that the store does not know, and that a
    /// person has let be overwritten.
    pub accepted: Option<Box<Generation>>,
    /// Since when its certificates are its own alone: one that began until then was
    /// another host's, too, and raises no suspicion. 0: it never had to be told apart.
    pub own_since: UnixMillis,
    /// Revision of the last write to labels or facts: since when selectors may see it differently.
    pub selector_revision: u64,
    /// Revision of the last write to what an operator can edit; the etag.
    pub revision: u64,
}

impl Node {
    /// SHA-256 of its public key at enrollment; empty where it is not kept.
    #[must_use]
    pub fn enrolled_key(&self) -> &[u8] {
        self.enrolled_key_sha256.as_deref().map_or(&[], |key| &key[..])
    }
}

/// How far a host's ledger was when last seen; it must never go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerMark {
    /// Born with its state directory.
    pub id: LedgerId,
    /// Only rises.
    pub seq: u64,
}

impl LedgerMark {
    /// Whether `next`, said in a new Hello, means that the host lost part of its memory.
    #[must_use]
    pub fn went_back(self, next: Self) -> bool {
        self.id != next.id || next.seq < self.seq
    }
}

/// Whether a display name can be taken: 1 to 128 characters, none of them control characters.
#[must_use]
pub fn is_display_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= 128 && !name.chars().any(char::is_control)
}

/// The etag of something at a revision, as callers see it: opaque to them.
#[must_use]
pub fn etag(revision: u64) -> String {
    format!("{revision:x}")
}

/// Whether an etag that a caller sent forbids the write. An empty one never does.
#[must_use]
pub fn is_stale(etag_of_caller: &str, revision: u64) -> bool {
    !etag_of_caller.is_empty() && etag_of_caller != etag(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_holds_for_one_revision() {
        assert_eq!(etag(255), "ff");
        assert!(!is_stale(&etag(255), 255));
        assert!(is_stale(&etag(255), 256));
        assert!(is_stale("nonsense", 255));
        assert!(!is_stale("", 255));
    }

    #[test]
    fn a_ledger_goes_back_when_it_is_another_or_knows_less() {
        let mark = |id, seq| LedgerMark { id: LedgerId::from_u128(id), seq };
        assert!(!mark(1, 5).went_back(mark(1, 5)));
        assert!(!mark(1, 5).went_back(mark(1, 6)));
        assert!(mark(1, 5).went_back(mark(1, 4)));
        assert!(mark(1, 5).went_back(mark(2, 9)));
    }

    #[test]
    fn a_display_name_is_something_to_read() {
        for name in ["web-1", "Büro, Drucker 3", &"x".repeat(128)] {
            assert!(is_display_name(name), "{name}");
        }
        for name in ["", "  ", "a\nb", "\u{7f}", &"x".repeat(129)] {
            assert!(!is_display_name(name), "{name:?}");
        }
    }
}
