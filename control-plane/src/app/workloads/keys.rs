//! Keys of issuers in the store, encrypted as protected contents are: who makes an issuer leaves
//! them there for the other replicas, and for one that begins with an older folder.

use std::path::Path;

use muster_common::ids::SecretId;
use muster_domain::{
    secret::Secret,
    workload::{Issuer, Issuers as Standings, Standing},
};
use muster_store::{ReadSecrets as _, Store};

use super::unusable;
use crate::{
    app::{App, Error},
    ca::workload::{Alone, has_keys, keys_of, put_keys},
    vault::Vault,
};

/// The keys of an issuer, encrypted. `None`: they are not here, or there is no key to do it with.
///
/// # Errors
/// If files cannot be read, or nothing can be encrypted.
fn sealed(vault: &Vault, ca_dir: &Path, number: u32) -> anyhow::Result<Option<Secret>> {
    if vault.key_ids().next().is_none() {
        return Ok(None);
    }
    let Some(keys) = keys_of(ca_dir, number)? else { return Ok(None) };
    Ok(Some(vault.encrypt(SecretId::generate(), &keys)?))
}

/// An issuer that is to have its keys in the store, and those.
pub(super) fn with_keys(
    vault: &Vault,
    ca_dir: &Path,
    made: Issuer,
) -> anyhow::Result<(Issuer, Option<Secret>)> {
    let fresh = sealed(vault, ca_dir, made.number)?;
    // Asked after they were read: with one directory for all, another replica may have put its own there.
    if !has_keys(ca_dir, &made) {
        anyhow::bail!("the keys of issuer {} are another's: two were made at once; try again", made.number);
    }
    Ok((Issuer { secret: fresh.as_ref().map(|secret| secret.id), ..made }, fresh))
}

/// Brings those that are not here. What cannot be decrypted is told: whoever opens the issuer
/// says what is missing.
///
/// # Errors
/// If the store fails, or files cannot be written.
pub(super) async fn fetch(
    store: &Store,
    vault: &Vault,
    ca_dir: &Path,
    standings: &Standings,
) -> anyhow::Result<()> {
    let issue = |issuer: &&Issuer| issuer.standing != Standing::Previous && issuer.secret.is_some();
    for issuer in standings.all.iter().filter(issue) {
        let number = issuer.number;
        if has_keys(ca_dir, issuer) {
            continue;
        }
        let read = store.read::<_, muster_store::Error, _>(move |tx| tx.secret_of_issuer(number));
        let Some(secret) = read.await? else { continue };
        match vault.decrypt(&secret) {
            Ok(keys) => {
                put_keys(ca_dir, number, &keys)?;
                tracing::info!(
                    number,
                    "the keys of issuer {number} of programs' identities came from the store"
                );
            }
            Err(error) => tracing::error!(
                number,
                %error,
                "the keys of issuer {number} of programs' identities cannot be had from the store: {error}"
            ),
        }
    }
    Ok(())
}

impl App {
    /// Leaves the keys in the store of issuers that were made before there was a place for them, or
    /// a key to encrypt them with, and of those whose key was lost.
    pub(super) async fn leave_keys(&self, alone: &Alone) -> Result<(), Error> {
        let before = self.workloads.standings();
        let (mut after, mut fresh) = (before.clone(), Vec::new());
        for issuer in after.all.iter_mut().filter(|issuer| issuer.standing != Standing::Previous) {
            let number = issuer.number;
            let read = self.store.read(move |tx| tx.secret_of_issuer(number).map_err(Error::from));
            if read.await?.is_some_and(|secret| self.vault.can_read(&secret)) {
                continue;
            }
            let sealed = sealed(&self.vault, self.workloads.dir(), number);
            let Some(secret) = sealed.map_err(|error| unusable(error.as_ref()))? else { continue };
            issuer.secret = Some(secret.id);
            fresh.push(secret);
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.put_issuers(self.own_stamp("workload.leave-keys"), before, after, fresh, alone).await
    }
}
