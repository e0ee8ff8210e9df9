//! SHA-256, and the one hash over a node's state on which both sides agree.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256 as Hasher};

use crate::generation::Generation;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of nothing that is known: where a chain starts.
    pub const ZERO: Self = Self([0; 32]);

    /// Digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Hasher::digest(bytes).into())
    }

    /// Digest of several pieces, one after the other.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// A digest someone else has computed. `None` unless it has 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest written by `Display`. `None` for anything else.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// What another program says is a digest: at most 32 bytes, none if it said nothing. They
/// stand in place, as those of a million nodes do not each take memory of their own.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Claimed {
    length: u8,
    bytes: [u8; 32],
}

impl From<&[u8]> for Claimed {
    /// What is longer is cut.
    fn from(said: &[u8]) -> Self {
        let mut claimed = Self::default();
        for (place, byte) in claimed.bytes.iter_mut().zip(said) {
            *place = *byte;
            claimed.length += 1;
        }
        claimed
    }
}

impl From<Vec<u8>> for Claimed {
    fn from(said: Vec<u8>) -> Self {
        said.as_slice().into()
    }
}

impl std::ops::Deref for Claimed {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&**self))
    }
}

/// A digest in the making, of bytes that come piece by piece.
#[derive(Clone, Default)]
pub struct Hashing(Hasher);

impl Hashing {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces so far.
    #[must_use]
    pub fn digest(&self) -> Sha256 {
        Sha256(self.0.clone().finalize().into())
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hashing").field(&self.digest()).finish()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_hex(&text).ok_or_else(|| serde::de::Error::custom("not 64 hexadecimal digits"))
    }
}

/// What a node runs, in one hash: SHA-256 over its running items in the order
/// of their names, each as length of name (u32, big endian), name, epoch and
/// generation (u64, big endian), SHA-256 of the payload.
///
/// The items must come sorted by name; a node that runs nothing has the hash of
/// the empty string.
#[must_use]
pub fn state_hash<'a>(running: impl IntoIterator<Item = (&'a str, Generation, Sha256)>) -> Sha256 {
    let mut hasher = Hasher::new();
    for (name, generation, sha256) in running {
        hasher.update(u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(name.as_bytes());
        hasher.update(generation.epoch.to_be_bytes());
        hasher.update(generation.number.to_be_bytes());
        hasher.update(sha256.0);
    }
    Sha256(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_hash_tells_every_part_of_an_item() {
        let base = ("bundle/a", Generation::new(1, 2), Sha256::of(b"x"));
        let hash = |item| state_hash([item]);
        assert_ne!(hash(base), hash(("bundle/b", base.1, base.2)));
        assert_ne!(hash(base), hash((base.0, Generation::new(2, 2), base.2)));
        assert_ne!(hash(base), hash((base.0, Generation::new(1, 3), base.2)));
        assert_ne!(hash(base), hash((base.0, base.1, Sha256::of(b"y"))));
        assert_eq!(state_hash([]), Sha256::of(b""));
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let mut hashing = Hashing::default();
        assert_eq!(hashing.digest(), Sha256::of(b""));
        hashing.update(b"mus");
        hashing.update(b"ter");
        assert_eq!(hashing.digest(), Sha256::of(b"muster"));
    }

    #[test]
    fn hex_is_the_written_form() {
        let digest = Sha256::of(b"muster");
        assert_eq!(Sha256::parse_hex(&digest.to_string()), Some(digest));
        assert_eq!(Sha256::parse_hex("00"), None);
    }
}
