//! Checkpoints: what a chain was at one place, under a signature.

use std::time::Duration;

use muster_common::{clock::UnixMillis, digest::Sha256};

use super::Entry;

/// What stands before everything that is signed, so that no signature over
/// something else can pass for one over a checkpoint.
const DOMAIN: &[u8] = b"muster-audit-checkpoint-v1\0";

/// A signed entry of a chain: with it, everything up to that entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of the installation.
    pub trust_domain: String,
    /// Whose chain.
    pub replica: String,
    /// Of the entry.
    pub seq: u64,
    /// Of the entry.
    pub hash: Sha256,
    /// When it was signed.
    pub at: UnixMillis,
    /// SHA-256 of the public key info of the key that signed.
    pub key_id: Sha256,
    /// ECDSA on P-256 with SHA-256 over [`Checkpoint::signed_bytes`], in DER.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// What is to be signed for an entry; the signature is still missing.
    #[must_use]
    pub fn of(entry: &Entry, trust_domain: &str, at: UnixMillis, key_id: Sha256) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            replica: entry.replica.clone(),
            seq: entry.seq,
            hash: entry.hash,
            at,
            key_id,
            signature: Vec::new(),
        }
    }

    /// The bytes under the signature. The layout is written down in
    /// `docs/security.md`; changing it breaks every checkpoint there is.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        for text in [&self.trust_domain, &self.replica] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(self.hash.as_bytes());
        bytes.extend_from_slice(&self.at.0.to_be_bytes());
        bytes.extend_from_slice(self.key_id.as_bytes());
        bytes
    }
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// None of the public keys is the one it names.
    #[error("it is signed with a key that is not known here")]
    UnknownKey,
    /// The key is known, and the signature is not of these bytes.
    #[error("its signature does not fit")]
    Wrong,
}

/// When a chain is signed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// After this many entries.
    pub entries: u64,
    /// After this long, if there is at least one.
    pub time: Duration,
}

impl Rhythm {
    /// Whether the newest entry of a chain should be signed now.
    #[must_use]
    pub fn is_due(&self, last: Option<&Checkpoint>, newest: u64, now: UnixMillis) -> bool {
        let Some(last) = last else { return newest > 0 };
        let unsigned = newest.saturating_sub(last.seq);
        // A clock that went back must not keep the audit unsigned.
        let waited = now < last.at || now.since(last.at) >= self.time;
        unsigned >= self.entries.max(1) || (unsigned > 0 && waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            trust_domain: "a.b".into(),
            replica: "r".into(),
            seq: 0x0102,
            hash: Sha256::of(b"entry"),
            at: UnixMillis(0x0304),
            key_id: Sha256::of(b"key"),
            signature: vec![9],
        }
    }

    #[test]
    fn the_layout_is_the_one_that_is_written_down() {
        let mut expected = b"muster-audit-checkpoint-v1\0".to_vec();
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend_from_slice(b"a.b");
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, b'r']);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 2]);
        expected.extend_from_slice(Sha256::of(b"entry").as_bytes());
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 3, 4]);
        expected.extend_from_slice(Sha256::of(b"key").as_bytes());
        assert_eq!(checkpoint().signed_bytes(), expected);
    }

    #[test]
    fn every_field_but_the_signature_is_signed() {
        let changes: [fn(&mut Checkpoint); 7] = [
            |c| c.trust_domain.push('x'),
            |c| c.replica.push('x'),
            |c| c.seq += 1,
            |c| c.hash = Sha256::ZERO,
            |c| c.at.0 += 1,
            |c| c.key_id = Sha256::ZERO,
            |c| {
                c.trust_domain = "a.".into();
                c.replica = "br".into();
            },
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut changed = checkpoint();
            change(&mut changed);
            assert_ne!(changed.signed_bytes(), checkpoint().signed_bytes(), "change {n}");
        }
        let signed = Checkpoint { signature: vec![1, 2, 3], ..checkpoint() };
        assert_eq!(signed.signed_bytes(), checkpoint().signed_bytes());
    }

    #[test]
    fn a_chain_is_signed_after_so_many_entries_or_so_long_and_never_without_a_new_one() {
        let rhythm = Rhythm { entries: 10, time: Duration::from_millis(100) };
        let last = Checkpoint { seq: 5, at: UnixMillis(1000), ..checkpoint() };
        let due = |newest, now| rhythm.is_due(Some(&last), newest, UnixMillis(now));
        assert!(!rhythm.is_due(None, 0, UnixMillis(0)), "nothing to sign");
        assert!(rhythm.is_due(None, 1, UnixMillis(0)), "the first is signed at once");
        assert!(!due(5, 999_999), "nothing new");
        assert!(!due(6, 1099) && due(6, 1100), "one entry waits");
        assert!(!due(14, 1000) && due(15, 1000), "many do not");
        assert!(due(6, 999), "the clock went back");
        assert!(!due(3, 2000), "the chain is shorter than what was signed");
    }
}
