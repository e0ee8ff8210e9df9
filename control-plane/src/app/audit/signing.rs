//! Signing the newest entry of a chain. Before that, everything since the last
//! signature is held against it: what was changed in the store meanwhile must
//! not get our signature.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::clock::UnixMillis;
use muster_domain::audit::{
    Checkpoint, Entry, Note,
    checkpoint::{BadSignature, Rhythm},
};
use muster_store::{ReadAudit as _, ReadTx, WriteAudit as _};
use parking_lot::Mutex;

use crate::{
    app::{App, Error},
    ca::audit_key::{AuditKey, AuditKeys},
};

/// The chain of the command line, which has no process of its own that stays.
pub const COMMAND_LINE: &str = "cli";

/// What signing needs.
pub struct Signer {
    key: AuditKey,
    keys: AuditKeys,
    rhythm: Rhythm,
    /// Entries that this process has signed last: the store must still have them so.
    signed: Mutex<BTreeMap<String, u64>>,
    /// Chains that do not hold: told once, and not signed any more.
    broken: Mutex<BTreeSet<String>>,
}

/// What there is to sign of a chain.
enum Found {
    Nothing,
    Newest(Box<Entry>),
    Broken(String),
}

impl Signer {
    /// With a key, in a rhythm.
    #[must_use]
    pub fn new(key: AuditKey, rhythm: Rhythm) -> Self {
        Self { keys: AuditKeys::of(&key), key, rhythm, signed: Mutex::default(), broken: Mutex::default() }
    }
}

/// The entry that says that a key was made.
#[must_use]
pub fn key_note(key: &AuditKey) -> Note {
    Note {
        subject: format!("audit-key/{}", key.id()),
        after: serde_json::json!({ "public_key": key.public_pem() }).to_string(),
        ..Note::default()
    }
}

impl App {
    /// Signs what is due of our own chain and of the command line's; at the
    /// `end`, whatever is new.
    ///
    /// # Errors
    /// If the store fails, or signing.
    pub async fn sign_audit(&self, end: bool) -> Result<(), Error> {
        for replica in [self.fixed.replica.as_str(), COMMAND_LINE] {
            self.sign_chain(replica, end).await?;
        }
        Ok(())
    }

    async fn sign_chain(&self, replica: &str, end: bool) -> Result<(), Error> {
        let signer = &self.audit;
        if signer.broken.lock().contains(replica) {
            return Ok(());
        }
        let (rhythm, keys, now) = (signer.rhythm, signer.keys.clone(), self.clock.now());
        let rhythm = if end { Rhythm { entries: 1, ..rhythm } } else { rhythm };
        let (chain, known) = (replica.to_owned(), signer.signed.lock().get(replica).copied().unwrap_or(0));
        let found = self
            .store
            .read(move |tx| match lost(tx, &chain, known)? {
                Some(what) => Ok(Found::Broken(what)),
                None => find(tx, &chain, rhythm, &keys, now),
            })
            .await?;
        let newest = match found {
            Found::Nothing => return Ok(()),
            Found::Newest(newest) => newest,
            Found::Broken(what) => {
                tracing::error!(replica, %what, "the audit of {replica} was changed in the store, and is not signed any more: {what}");
                signer.broken.lock().insert(replica.to_owned());
                self.metrics.audit_chain_broken();
                return Ok(());
            }
        };
        let checkpoint = Checkpoint::of(&newest, self.fixed.trust_domain.as_str(), now, signer.key.id());
        let signed = signer.key.sign(checkpoint).map_err(|error| {
            Error::refused(muster_common::reason::Reason::Internal, format!("cannot sign the audit: {error}"))
        })?;
        let stamp = self.own_stamp("audit.sign");
        let written = self.store.write(stamp, move |tx| tx.checkpoint_insert(&signed).map_err(Error::from));
        if !written.await?.value {
            return Ok(()); // another replica was first with the command line's
        }
        signer.signed.lock().insert(replica.to_owned(), newest.seq);
        self.metrics.audit_signed(now.0 / 1000);
        tracing::debug!(replica, seq = newest.seq, "the audit of {replica} was signed up to {}", newest.seq);
        Ok(())
    }
}

/// Whether a checkpoint of ours was taken out since: who does that wants the
/// chain signed anew.
fn lost(tx: &mut ReadTx<'_>, replica: &str, known: u64) -> Result<Option<String>, Error> {
    let last = tx.checkpoint_last(replica)?.map_or(0, |last| last.seq);
    Ok((last < known).then(|| format!("the checkpoint of entry {known} is not there any more")))
}

fn find(
    tx: &mut ReadTx<'_>,
    replica: &str,
    rhythm: Rhythm,
    keys: &AuditKeys,
    now: UnixMillis,
) -> Result<Found, Error> {
    let Some(newest) = tx.audit_last(replica)? else { return Ok(Found::Nothing) };
    let last = tx.checkpoint_last(replica)?;
    if let Some(last) = last.as_ref().filter(|last| last.seq > newest.seq) {
        let what = format!("entry {} was signed, and the chain ends with {}", last.seq, newest.seq);
        return Ok(Found::Broken(what));
    }
    if !rhythm.is_due(last.as_ref(), newest.seq, now) {
        return Ok(Found::Nothing);
    }
    let trusted = match last.as_ref().map(|last| (last, keys.check(last))) {
        Some((last, Ok(()))) => Some(last),
        Some((last, Err(BadSignature::Wrong))) => {
            return Ok(Found::Broken(format!(
                "the checkpoint of entry {}: {}",
                last.seq,
                BadSignature::Wrong
            )));
        }
        // The first signature, or the first of a new key: it vouches for everything.
        Some((_, Err(BadSignature::UnknownKey))) | None => None,
    };
    Ok(match tx.audit_since(replica, trusted)? {
        Some(bad) => Found::Broken(bad.to_string()),
        None => Found::Newest(Box::new(newest)),
    })
}

#[cfg(test)]
mod tests;
