//! Encrypts what the store must not be able to tell: contents of bundles that are
//! marked protected. AES-256-GCM, bound to the id of the content; the keys are in a file
//! beside the store and never in it. The first one encrypts, all of them decrypt.

mod key_file;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use muster_common::ids::SecretId;
use muster_domain::secret::Secret;
use zeroize::Zeroizing;

use key_file::Named;
pub use key_file::{Error, KeyFile};

/// What encryption adds to a content, in bytes.
const OVERHEAD: usize = NONCE_LEN + 16;

/// The keys.
pub struct Vault(Vec<Key>);

struct Key {
    id: String,
    key: RandomizedNonceKey,
}

/// A content cannot be encrypted or decrypted. Nothing more is known, on purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its key is not there.
    #[error("protected content {id} was encrypted with key {key_id}, which is not in the file of keys")]
    NoKey {
        /// Which content.
        id: SecretId,
        /// Which key.
        key_id: String,
    },
    /// It was changed, or belongs to another id.
    #[error("protected content {0} does not decrypt: it was changed in the store")]
    Changed(SecretId),
    /// The vault has no key, or the library failed.
    #[error("protected content {0} could not be encrypted: there is no key to do it with")]
    NotEncrypted(SecretId),
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

impl Vault {
    /// Without a key: nothing can be encrypted or read.
    #[must_use]
    pub const fn locked() -> Self {
        Self(Vec::new())
    }

    /// With these keys, the one that encrypts first.
    fn new(keys: impl IntoIterator<Item = Named>) -> Option<Self> {
        let key =
            |(id, bytes): Named| Some(Key { id, key: RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()? });
        Some(Self(keys.into_iter().map(key).collect::<Option<_>>()?))
    }

    /// Names of the keys, that of the one that encrypts first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// The name of the key that encrypts.
    #[must_use]
    pub fn active(&self) -> &str {
        self.key_ids().next().unwrap_or_default()
    }

    /// Whether the key of a content is there.
    #[must_use]
    pub fn can_read(&self, secret: &Secret) -> bool {
        self.0.iter().any(|key| key.id == secret.key_id)
    }

    /// Encrypts a content.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn encrypt(&self, id: SecretId, content: &[u8]) -> Result<Secret, Unreadable> {
        self.seal(id, content, aad(id))
    }

    /// Encrypts the key of a slot of the certificate authority. It cannot be read as a protected content, nor
    /// as the key of another slot.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn encrypt_key(&self, slot: u32, id: SecretId, key: &[u8]) -> Result<Secret, Unreadable> {
        self.seal(id, key, aad_of_key(slot, id))
    }

    fn seal(&self, id: SecretId, content: &[u8], aad: Aad<Vec<u8>>) -> Result<Secret, Unreadable> {
        let failed = || Unreadable::NotEncrypted(id);
        let key = self.0.first().ok_or_else(failed)?;
        // With room for the tag: grown, it would leave a copy of the content behind.
        let mut text = Zeroizing::new(Vec::with_capacity(content.len() + OVERHEAD));
        text.extend_from_slice(content);
        let nonce = key.key.seal_in_place_append_tag(aad, &mut *text).map_err(|_| failed())?;
        let sealed = [nonce.as_ref(), text.as_slice()].concat();
        Ok(Secret { id, key_id: key.id.clone(), sealed })
    }

    /// What was encrypted.
    ///
    /// # Errors
    /// If its key is not there, or it was changed.
    pub fn decrypt(&self, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.open(secret, aad(secret.id))
    }

    /// The key of a slot of the certificate authority.
    ///
    /// # Errors
    /// If its key is not there, or it was changed, or is not that of the slot.
    pub fn decrypt_key(&self, slot: u32, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.open(secret, aad_of_key(slot, secret.id))
    }

    fn open(&self, secret: &Secret, aad: Aad<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let id = secret.id;
        let no_key = || Unreadable::NoKey { id, key_id: secret.key_id.clone() };
        let key = self.0.iter().find(|key| key.id == secret.key_id).ok_or_else(no_key)?;
        let changed = || Unreadable::Changed(id);
        let (nonce, text) = secret.sealed.split_at_checked(NONCE_LEN).ok_or_else(changed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| changed())?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = key.key.open_in_place(nonce, aad, &mut text).map_err(|_| changed())?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Bytes of a content, without decrypting it.
    #[must_use]
    pub const fn size(secret: &Secret) -> usize {
        secret.sealed.len().saturating_sub(OVERHEAD)
    }
}

fn aad(id: SecretId) -> Aad<Vec<u8>> {
    Aad::from(format!("muster protected content {id}").into_bytes())
}

fn aad_of_key(slot: u32, id: SecretId) -> Aad<Vec<u8>> {
    Aad::from(format!("muster authority key {slot} {id}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(keys: &[u8]) -> Vault {
        let keys = keys.iter().map(|&n| (format!("key-{n}"), Zeroizing::new(vec![n; 32])));
        Vault::new(keys).unwrap()
    }

    #[test]
    fn the_key_of_a_slot_is_nothing_else() {
        let (id, vault) = (SecretId::from_u128(1), vault(&[1]));
        let key = vault.encrypt_key(2, id, b"a key").unwrap();
        assert_eq!(vault.decrypt_key(2, &key).unwrap().as_slice(), b"a key");
        assert!(vault.decrypt_key(3, &key).is_err() && vault.decrypt(&key).is_err());
    }

    #[test]
    fn what_is_encrypted_comes_back_under_its_own_id_and_key_alone() {
        let (id, old, new) = (SecretId::from_u128(1), vault(&[1]), vault(&[2, 1]));
        let secret = old.encrypt(id, b"hunter2").unwrap();
        assert!(!secret.sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(Vault::size(&secret), 7);
        assert_eq!(old.decrypt(&secret).unwrap().as_slice(), b"hunter2");
        assert_eq!(new.decrypt(&secret).unwrap().as_slice(), b"hunter2", "an older key decrypts");
        assert_eq!(new.encrypt(id, b"").unwrap().key_id, "key-2", "the first one encrypts");
        let other = Secret { id: SecretId::from_u128(2), ..secret.clone() };
        assert_eq!(old.decrypt(&other), Err(Unreadable::Changed(other.id)));
        assert!(!vault(&[2]).can_read(&secret));
        let lost = Unreadable::NoKey { id, key_id: "key-1".to_owned() };
        assert_eq!(vault(&[2]).decrypt(&secret), Err(lost));
    }

    #[test]
    fn what_was_changed_or_cut_is_not_decrypted() {
        let (id, vault) = (SecretId::from_u128(1), vault(&[1]));
        let secret = vault.encrypt(id, b"hunter2").unwrap();
        for at in 0..secret.sealed.len() {
            let mut changed = secret.clone();
            changed.sealed[at] ^= 1;
            assert_eq!(vault.decrypt(&changed), Err(Unreadable::Changed(id)), "byte {at}");
            let cut = Secret { sealed: secret.sealed[..at].to_vec(), ..secret.clone() };
            assert_eq!(vault.decrypt(&cut), Err(Unreadable::Changed(id)), "cut at {at}");
        }
        assert_ne!(vault.encrypt(id, b"hunter2").unwrap().sealed, secret.sealed, "never the same twice");
    }
}
