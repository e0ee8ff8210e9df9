//! Keys of slots in a store that several replicas share, encrypted as protected contents are: who
//! prepares a slot leaves the key of its issuing certificate there for the others, and for one that begins
//! with an older folder.
//!
//! Never: the key of a root, which belongs where nobody issues, or what came as files of another authority.

use std::path::Path;

use muster_common::ids::SecretId;
use muster_domain::{
    audit::Note,
    authority::{Authority, Slot},
    secret::Secret,
};
use muster_store::{ReadAuthority as _, Store, WriteAuthority as _, WriteTx};
use serde_json::json;

use super::unusable;
use crate::{
    app::{App, Error},
    ca,
    vault::Vault,
};

/// The key of a slot, encrypted. `None`: it is not here or not ours, or there is no key to do it with.
pub(super) fn sealed(vault: &Vault, dir: &Path, slot: &Slot) -> Result<Option<Secret>, Error> {
    if slot.external || vault.key_ids().next().is_none() {
        return Ok(None);
    }
    let Some(key) = ca::key_of(dir, slot).map_err(|error| unusable(&error))? else { return Ok(None) };
    let sealed = vault.encrypt_key(slot.number, SecretId::generate(), key.as_bytes());
    sealed.map(Some).map_err(|error| unusable(&error))
}

/// Brings the keys of trusted slots that are not here. What cannot be decrypted is told: whoever
/// opens the slot says what is missing.
///
/// # Errors
/// If the store fails, or files cannot be written.
pub async fn fetch(store: &Store, vault: &Vault, dir: &Path, authority: &Authority) -> Result<(), Error> {
    let missing = authority.trusted().filter(|slot| !slot.external && !ca::has_key(dir, slot));
    for slot in missing {
        let number = slot.number;
        let read = store.read(move |tx| tx.authority_key(number).map_err(Error::from));
        let Some(secret) = read.await? else { continue };
        match vault.decrypt_key(number, &secret) {
            Ok(key) => {
                ca::put_key(dir, slot, &key).map_err(|error| unusable(&error))?;
                tracing::info!(number, "the key of slot {number} of the authority came from the store");
            }
            Err(error) => tracing::error!(
                number,
                %error,
                "the key of slot {number} of the authority cannot be had from the store: {error}"
            ),
        }
    }
    Ok(())
}

impl App {
    /// Leaves the keys of slots in the store that others share, if they were made before there was
    /// a place for them there, or an older key has encrypted them.
    ///
    /// # Errors
    /// If the store fails, or files cannot be read.
    pub(crate) async fn leave_authority_keys(&self) -> Result<(), Error> {
        let authority = self.ca.authority();
        let mut fresh = Vec::new();
        for slot in authority.trusted() {
            let number = slot.number;
            let stored = self.store.read(move |tx| tx.authority_key(number).map_err(Error::from)).await?;
            if stored.is_none_or(|stored| stored.key_id != self.vault.active()) {
                let sealed = sealed(&self.vault, self.ca.dir(), slot)?;
                fresh.extend(sealed.map(|secret| (number, secret)));
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let numbers: Vec<u32> = fresh.iter().map(|(number, _)| *number).collect();
        let after = json!({ "keys_of": numbers, "key": self.vault.active() }).to_string();
        let write = move |tx: &mut WriteTx<'_>| -> Result<(), Error> {
            // One that was dropped meanwhile took its key along.
            let now = tx.authority_get()?;
            let is_trusted = |number: u32| now.trusted().any(|slot| slot.number == number);
            let fresh = fresh.iter().filter(|(number, _)| is_trusted(*number));
            fresh.into_iter().try_for_each(|(number, secret)| tx.authority_key_put(*number, secret))?;
            Ok(tx.audit(Note { subject: "authority".to_owned(), after: after.clone(), ..Note::default() })?)
        };
        self.store.write(self.own_stamp("authority.leave-keys"), write).await.map(drop)
    }
}
