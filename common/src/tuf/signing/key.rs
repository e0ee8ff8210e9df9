//! Keys that sign.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tough::schema::{
    decoded::{Decoded, Hex},
    key::{Ed25519Key, Ed25519Scheme, Key},
};
use zeroize::Zeroizing;

/// What a private key is called in its file.
const PEM: &str = "PRIVATE KEY";

/// A private key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: Public,
}

/// A public key, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    id: String,
    bytes: Vec<u8>,
}

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no PEM file of a private key.
    #[error("it is no PEM file with a PRIVATE KEY")]
    Pem,
    /// The key is not Ed25519, or damaged.
    #[error("it has no Ed25519 key in PKCS#8")]
    Key,
    /// The system gave no randomness.
    #[error("no key can be made")]
    Random,
}

impl SigningKey {
    /// Makes one.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate() -> Result<Self, Unusable> {
        Self::of(Ed25519KeyPair::generate().map_err(|_| Unusable::Random)?)
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_pem(text: &str) -> Result<Self, Unusable> {
        let file = pem::parse(text).map_err(|_| Unusable::Pem)?;
        if file.tag() != PEM {
            return Err(Unusable::Pem);
        }
        Self::of(Ed25519KeyPair::from_pkcs8(file.contents()).map_err(|_| Unusable::Key)?)
    }

    /// As it is written into a file that nobody else may read.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, Unusable> {
        let pkcs8 = self.pair.to_pkcs8().map_err(|_| Unusable::Key)?;
        Ok(Zeroizing::new(pem::encode(&pem::Pem::new(PEM, pkcs8.as_ref()))))
    }

    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> &Public {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    fn of(pair: Ed25519KeyPair) -> Result<Self, Unusable> {
        let public = Public::new(pair.public_key().as_ref()).ok_or(Unusable::Key)?;
        Ok(Self { pair, public })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public.id).finish()
    }
}

impl Public {
    fn new(bytes: &[u8]) -> Option<Self> {
        let key = Key::Ed25519 {
            keyval: Ed25519Key { public: bytes.to_vec().into(), _extra: Default::default() },
            scheme: Ed25519Scheme::Ed25519,
            _extra: Default::default(),
        };
        Some(Self { id: hex::encode(key.key_id().ok()?), bytes: bytes.to_vec() })
    }

    /// Of a key in metadata; `None` for other kinds of keys.
    pub(super) fn of(key: &Key) -> Option<Self> {
        match key {
            Key::Ed25519 { keyval, .. } => Self::new(&keyval.public),
            Key::Ecdsa { .. } | Key::EcdsaOld { .. } | Key::Rsa { .. } => None,
        }
    }

    /// Its name in metadata: 64 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn decoded_id(&self) -> Decoded<Hex> {
        hex::decode(&self.id).unwrap_or_default().into()
    }

    pub(super) fn json(&self) -> Value {
        let public = hex::encode(&self.bytes);
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } })
    }
}
