//! Contents on their way to one host: sealed with its public key, so that nobody in
//! between, no other host and no log can read them. HPKE (RFC 9180) with X25519,
//! HKDF-SHA256 and AES-256-GCM.

use std::{collections::BTreeMap, fmt};

use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE,
    hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey},
};
use zeroize::Zeroizing;

use crate::{
    digest::Sha256,
    ids::{NodeId, SecretId},
};

/// Length of a public key, and of a private one.
pub const KEY_BYTES: usize = 32;

const INFO: &[u8] = b"muster protected content v1";
/// An id as it is written.
const ID_BYTES: usize = 36;

/// Contents by their ids.
pub type Contents = BTreeMap<SecretId, Zeroizing<Vec<u8>>>;

/// For whom and for what something is sealed: with any other it does not open.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The host.
    pub node: NodeId,
    /// `bundle/NAME`.
    pub item: &'a str,
    /// Of the item's payload.
    pub sha256: Sha256,
}

/// What only the holder of one key can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// From which the host derives the key of the ciphertext.
    pub encapsulated_key: Vec<u8>,
    /// The contents.
    pub ciphertext: Vec<u8>,
}

/// It cannot be sealed or opened. Nothing more is known, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The public key is none.
    #[error("this is no key to seal for")]
    Key,
    /// It was sealed for another key, host or item, or was changed.
    #[error("what was sealed does not open with this host's key")]
    Open,
}

/// The key of one host.
pub struct SealingKey {
    private: HpkePrivateKey,
    public: Vec<u8>,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

impl Address<'_> {
    fn bytes(&self) -> Vec<u8> {
        format!("{}\n{}\n{}", self.node, self.item, self.sha256).into_bytes()
    }
}

impl SealingKey {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let (public, private) = SUITE.generate_key_pair().map_err(|_| Error::Key)?;
        Ok(Self { private, public: public.0 })
    }

    /// The key that [`SealingKey::to_bytes`] wrote.
    ///
    /// # Errors
    /// If these bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (private, public) = bytes.split_at_checked(KEY_BYTES).ok_or(Error::Key)?;
        if public.len() != KEY_BYTES {
            return Err(Error::Key);
        }
        let key = Self { private: HpkePrivateKey::from(private.to_vec()), public: public.to_vec() };
        // Halves of two keys would only show when something does not open.
        let address = Address { node: NodeId::from_u128(0), item: "", sha256: Sha256::ZERO };
        key.open(address, &seal(&key.public, address, &Contents::new())?)?;
        Ok(key)
    }

    /// Both halves.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.private.secret_bytes(), &self.public].concat())
    }

    /// The half for everybody.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// What was sealed for this key under this address.
    ///
    /// # Errors
    /// If it was not.
    pub fn open(&self, address: Address<'_>, sealed: &Sealed) -> Result<Contents, Error> {
        let key = EncapsulatedSecret(sealed.encapsulated_key.clone());
        let opened = SUITE.open(&key, INFO, &address.bytes(), &sealed.ciphertext, &self.private);
        unpack(&Zeroizing::new(opened.map_err(|_| Error::Open)?)).ok_or(Error::Open)
    }
}

/// Seals contents for the host with this public key.
///
/// # Errors
/// If it is none.
pub fn seal(public_key: &[u8], address: Address<'_>, contents: &Contents) -> Result<Sealed, Error> {
    let key = HpkePublicKey(public_key.to_vec());
    let (encapsulated, ciphertext) =
        SUITE.seal(INFO, &address.bytes(), &pack(contents), &key).map_err(|_| Error::Key)?;
    Ok(Sealed { encapsulated_key: encapsulated.0, ciphertext })
}

/// For each content: its id as written, its length in four bytes, most significant first,
/// and itself.
fn pack(contents: &Contents) -> Zeroizing<Vec<u8>> {
    let size = contents.values().map(|content| ID_BYTES + 4 + content.len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size)); // grown, it would leave copies behind
    for (id, content) in contents {
        bytes.extend_from_slice(id.to_string().as_bytes());
        bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}

fn unpack(mut bytes: &[u8]) -> Option<Contents> {
    let mut contents = Contents::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_at_checked(ID_BYTES)?;
        let (length, rest) = rest.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let id = std::str::from_utf8(id).ok()?.parse().ok()?;
        contents.insert(id, Zeroizing::new(content.to_vec()));
        bytes = rest;
    }
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Address<'_> =
        Address { node: NodeId::from_u128(1), item: "bundle/web", sha256: Sha256::ZERO };

    fn contents() -> Contents {
        let of = |n: u128, content: &[u8]| (SecretId::from_u128(n), Zeroizing::new(content.to_vec()));
        [of(1, b"hunter2"), of(2, b""), of(3, &[0xff; 70_000])].into()
    }

    #[test]
    fn only_its_host_opens_what_was_sealed_for_it() {
        let (key, other) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
        let sealed = seal(key.public(), ADDRESS, &contents()).unwrap();
        assert_eq!(key.open(ADDRESS, &sealed), Ok(contents()));
        assert_eq!(other.open(ADDRESS, &sealed), Err(Error::Open));
        let elsewhere = [
            Address { node: NodeId::from_u128(2), ..ADDRESS },
            Address { item: "bundle/db", ..ADDRESS },
            Address { sha256: Sha256::of(b"another version"), ..ADDRESS },
        ];
        for address in elsewhere {
            assert_eq!(key.open(address, &sealed), Err(Error::Open));
        }
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let key = SealingKey::generate().unwrap();
        let sealed = seal(key.public(), ADDRESS, &contents()).unwrap();
        let mut changed = sealed.clone();
        changed.ciphertext[10] ^= 1;
        let cut = Sealed { ciphertext: sealed.ciphertext[1..].to_vec(), ..sealed.clone() };
        let empty = Sealed { encapsulated_key: Vec::new(), ..sealed };
        for wrong in [changed, cut, empty] {
            assert_eq!(key.open(ADDRESS, &wrong), Err(Error::Open));
        }
        for cut in [1, ID_BYTES, ID_BYTES + 3, ID_BYTES + 4] {
            assert_eq!(unpack(&pack(&contents())[..cut]), None, "{cut}");
        }
        assert_eq!(seal(b"short", ADDRESS, &contents()), Err(Error::Key));
    }

    #[test]
    fn a_key_comes_back_from_its_bytes_and_only_whole() {
        let (key, other) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
        let again = SealingKey::from_bytes(&key.to_bytes()).unwrap();
        let sealed = seal(key.public(), ADDRESS, &contents()).unwrap();
        assert_eq!(again.open(ADDRESS, &sealed), Ok(contents()));
        let halves = [&key.to_bytes()[..KEY_BYTES], other.public()].concat();
        for bytes in [&[][..], &key.to_bytes()[..63], &halves] {
            assert!(SealingKey::from_bytes(bytes).is_err());
        }
        assert_eq!(format!("{key:?}"), "SealingKey");
    }
}
