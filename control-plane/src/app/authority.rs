//! The life of the certificate authority: its moves, and how far the fleet is.
//!
//! The command line beside a serving control plane makes the same moves with the
//! same functions; the change feed brings them to the process that serves.

use std::path::Path;

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    reason::Reason,
    tasks::Kind,
    tls::{pem, spiffe::TrustDomain},
};
use muster_domain::{
    audit::{Note, Stamp},
    authority::{Authority, Move, Phase, Progress, Refused, Slot, Standing},
    event::{self, Happened},
};
use muster_store::{ReadAccess, ReadAuthority, Store, WriteAuthority as _, WriteTx};
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::{Actor, App, Error, events};
use crate::{
    ca::{self, Ca, Scope},
    vault::Vault,
};

pub mod keys;

/// What a move needs besides the store.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Where the authority's files are.
    pub dir: &'a Path,
    /// Under which all names stand.
    pub trust_domain: &'a TrustDomain,
    /// Encrypts keys for the other replicas. `None`: there are none.
    pub vault: Option<&'a Vault>,
    /// Whether nodes can recover that a move leaves without a certificate.
    pub recovers: bool,
}

/// From where a new slot comes.
#[derive(Debug, Clone)]
pub enum Source {
    /// Made here.
    Own(Scope),
    /// Files of another authority.
    Files {
        /// Issuing certificate first, root last.
        chain: std::path::PathBuf,
        /// Of the issuing certificate.
        key: std::path::PathBuf,
    },
}

/// Makes a new slot and trusts it.
///
/// # Errors
/// If one is on its way already, or its files cannot be made or used.
pub async fn prepare(
    store: &Store,
    place: Place<'_>,
    source: &Source,
    stamp: Stamp,
) -> Result<Authority, Error> {
    let _alone = alone(place)?;
    let before: Authority = store.read(|tx| tx.authority_get()).await?;
    let now = stamp.at;
    // Asked first: no files are made for a move that is not possible.
    let slot = slot(place, &before, source, now)?;
    let key = place.vault.map(|vault| keys::sealed(vault, place.dir, &slot)).transpose()?.flatten();
    let number = slot.number;
    let prepared = before.prepare(slot).map_err(|error| refused(&error))?;
    let put = move |tx: &mut WriteTx<'_>| -> Result<Authority, Error> {
        if tx.authority_get()? != before {
            return Err(changed());
        }
        tx.authority_put(&prepared)?;
        key.iter().try_for_each(|key| tx.authority_key_put(number, key))?;
        note(tx, &prepared, false)?;
        Ok(prepared.clone())
    };
    Ok(store.write(stamp, put).await?.value)
}

fn slot(place: Place<'_>, before: &Authority, source: &Source, now: UnixMillis) -> Result<Slot, Error> {
    let probe =
        before.slots.last().cloned().ok_or_else(|| refused_text("there is no certificate authority"))?;
    before.prepare(Slot { number: before.next_number(), ..probe }).map_err(|error| refused(&error))?;
    let made = match source {
        Source::Own(scope) => ca::prepare(place.dir, place.trust_domain, before, *scope, now),
        Source::Files { chain, key } => ca::from_files(place.dir, before.next_number(), chain, key, now),
    };
    made.map_err(|error| unusable(&error))
}

/// One move at a time, of whatever process: two would make files of one slot.
fn alone(place: Place<'_>) -> Result<ca::Alone, Error> {
    let alone = ca::alone(place.dir).map_err(|error| unusable(&error))?;
    alone.ok_or_else(|| refused_text("another move of the authority is under way; try again"))
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Error {
    let text = muster_common::error_chain::Chain(error).to_string();
    Error::refused(Reason::AuthorityUnusable, text)
}

/// Activates, takes back, or retires.
///
/// # Errors
/// If the phase does not allow it, or, unless `forced`, somebody would be lost.
pub async fn go(
    store: &Store,
    place: Place<'_>,
    step: Move,
    forced: bool,
    stamp: Stamp,
) -> Result<Authority, Error> {
    let _alone = alone(place)?;
    let (now, dir, recovers) = (stamp.at, place.dir.to_owned(), place.recovers);
    // Not in the write, for which others wait: a fleet is large. What was counted only becomes less
    // meanwhile: no slot beside the active one issues, and that the active one is another is seen.
    let counted = store.read(move |tx| {
        let before = tx.authority_get()?;
        let progress = progress(tx, &before, recovers)?;
        Ok::<_, Error>((before, progress))
    });
    let (before, progress) = counted.await?;
    if let Some(vault) = place.vault {
        keys::fetch(store, vault, place.dir, &before).await?; // another replica may have prepared it
    }
    let write = move |tx: &mut WriteTx<'_>| -> Result<Authority, Error> {
        if tx.authority_get()? != before {
            return Err(changed());
        }
        let after = before.go(step, &progress, forced, now).map_err(|error| refused(&error))?;
        // Before it is in force: what cannot sign must not be told to.
        ca::check_active(&dir, &after).map_err(|error| unusable(&error))?;
        tx.authority_put(&after)?;
        note(tx, &after, forced)?;
        Ok(after)
    };
    let after = store.write(stamp, write).await?.value;
    forget_keys(place.dir, &after);
    Ok(after)
}

fn forget_keys(dir: &Path, authority: &Authority) {
    if let Err(error) = ca::forget_keys(dir, authority) {
        let error = muster_common::error_chain::Chain(&error);
        tracing::error!(%error, "keys of a slot that is no longer trusted are still there: {error}");
    }
}

/// How far the fleet is with the moves that are under way, as it is stored.
///
/// # Errors
/// If the store fails.
pub fn progress<R: ReadAuthority + ReadAccess>(
    tx: &mut R,
    authority: &Authority,
    recovers: bool,
) -> Result<Progress, muster_store::Error> {
    let progress = Progress::begin(authority, &tx.caller_all()?, recovers);
    tx.authority_progress(authority, progress)
}

fn note(tx: &mut WriteTx<'_>, after: &Authority, forced: bool) -> Result<(), Error> {
    let standings: Vec<_> =
        after.slots.iter().map(|slot| json!({ "slot": slot.number, "is": slot.standing.as_str() })).collect();
    let text = json!({
        "phase": after.phase().as_str(), "trust_bundle_version": after.bundle_version,
        "slots": standings, "forced": forced,
    });
    tx.audit(Note { subject: "authority".to_owned(), after: text.to_string(), ..Note::default() })?;
    let phase = after.phase();
    let message = format!("the certificate authority is {}", phase.as_str());
    let what = Happened::new(event::Kind::AuthorityTurned, &message)
        .about("authority")
        .with("phase", phase.as_str());
    events::tell(tx, what.with("trust_bundle_version", after.bundle_version).with("forced", forced))
}

fn refused(error: &Refused) -> Error {
    let reason = match error {
        Refused::Phase(..) => Reason::StateConflict,
        Refused::Unready(_) => Reason::AuthorityNotReady,
    };
    Error::refused(reason, error.to_string())
}

fn refused_text(text: &str) -> Error {
    Error::refused(Reason::StateConflict, text)
}

fn changed() -> Error {
    refused_text("the authority changed meanwhile; look again")
}

/// Whether a slot still issues, in the write of a certificate that it issued a moment ago.
///
/// # Errors
/// If it does not: a certificate of a slot that is dropped would be worth nothing.
pub(crate) fn still_issues<R: ReadAuthority>(tx: &mut R, slot: u32) -> Result<(), Error> {
    let active = tx.authority_get()?.at(Standing::Active).map(|slot| slot.number);
    if active == Some(slot) {
        return Ok(());
    }
    Err(Error::refused(Reason::Overloaded, "the authority moved on at this moment; try again"))
}

impl App {
    fn place(&self) -> Place<'_> {
        let recovers = self.fixed.recovery.enabled;
        let vault = self.replicas.is_shared().then_some(&self.vault);
        Place { dir: self.ca.dir(), trust_domain: &self.fixed.trust_domain, vault, recovers }
    }

    /// Makes a new slot and trusts it.
    ///
    /// # Errors
    /// As [`prepare`].
    pub async fn authority_prepare(&self, actor: &Actor, source: &Source) -> Result<Authority, Error> {
        let stamp = actor.stamp("authority.prepare", self.clock.now());
        let (app, source) = (self.clone(), source.clone());
        self.to_its_end(async move {
            prepare(&app.store, app.place(), &source, stamp).await?;
            app.reload_authority().await
        })
        .await
    }

    /// Any other move.
    ///
    /// # Errors
    /// As [`go`].
    pub async fn authority_go(&self, actor: &Actor, step: Move, forced: bool) -> Result<Authority, Error> {
        let action = match step {
            Move::Prepare => "authority.prepare",
            Move::Activate => "authority.activate",
            Move::Rollback => "authority.rollback",
            Move::Retire => "authority.retire",
        };
        // What nodes acknowledged a moment ago counts.
        self.record().await?;
        let stamp = actor.stamp(action, self.clock.now());
        let app = self.clone();
        self.to_its_end(async move {
            go(&app.store, app.place(), step, forced, stamp).await?;
            app.reload_authority().await
        })
        .await
    }

    /// A move goes on when who asked for it is gone: the write would, too, and the next
    /// move must not begin before it is over.
    async fn to_its_end<F>(&self, made: F) -> Result<Authority, Error>
    where
        F: Future<Output = Result<Authority, Error>> + Send + 'static,
    {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.tasks.spawn("authority", Kind::BestEffort, async move {
            let _ = tell.send(made.await); // nobody waits any more: it is done all the same
        });
        let lost = || {
            Error::refused(Reason::Internal, "the move of the authority was broken off; look at its status")
        };
        told.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Takes the configured files as the next slot, if they hold another issuing
    /// certificate than any slot has had. `refused`: what could not be taken.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn take_authority_files(&self, refused: &mut Option<Sha256>) -> Result<(), Error> {
        let Some((chain, key)) = self.fixed.authority.files() else { return Ok(()) };
        let content = content(chain, key);
        let authority = self.ca.authority();
        let known =
            |der: &CertificateDer<'_>| authority.slots.iter().any(|slot| slot.issuing_der == der.as_ref());
        let is_new = pem::certificates(chain).map(|found| !found.first().is_some_and(known));
        if matches!(is_new, Ok(false)) || *refused == Some(content) {
            return Ok(());
        }
        if authority.phase() != Phase::Steady {
            tracing::debug!(
                "the authority's files changed; they are taken when the rotation under way is over"
            );
            return Ok(());
        }
        let source = Source::Files { chain: chain.clone(), key: key.clone() };
        match prepare(&self.store, self.place(), &source, self.own_stamp("authority.prepare")).await {
            Ok(_) => {
                tracing::warn!("{} holds another authority: it is the next slot now", chain.display());
                self.reload_authority().await.map(drop)
            }
            // Somebody else moves the authority at this moment: looked at again next time.
            Err(Error::Refused { reason: Reason::StateConflict, message }) => {
                tracing::debug!("{} is not taken now: {message}", chain.display());
                Ok(())
            }
            Err(Error::Refused { message, .. }) => {
                *refused = Some(content);
                self.metrics.authority_behind();
                tracing::error!("{} cannot be taken: {message}", chain.display());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The slots, and how far the fleet is.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn authority(&self) -> Result<(Authority, Progress), Error> {
        let authority = self.ca.authority();
        let callers = self.store.read(|tx| tx.caller_all().map_err(Error::from)).await?;
        let mut progress = Progress::begin(&authority, &callers, self.fixed.recovery.enabled);
        self.fleet.for_each(|entry| progress.count(&authority, &entry.node, entry.tracker.state()));
        Ok((authority, progress))
    }

    /// Takes the store's slots, and tells every session what follows from them.
    ///
    /// # Errors
    /// If the store fails, or files are missing; then the former slots go on.
    pub(crate) async fn reload_authority(&self) -> Result<Authority, Error> {
        let authority: Authority = self.store.read(|tx| tx.authority_get().map_err(Error::from)).await?;
        keys::fetch(&self.store, &self.vault, self.ca.dir(), &authority).await?;
        self.ca.take(authority.clone()).map_err(|error| {
            let error = muster_common::error_chain::Chain(&error).to_string();
            tracing::error!(error, "the certificate authority could not follow the store: {error}");
            Error::refused(Reason::AuthorityUnusable, error)
        })?;
        forget_keys(self.ca.dir(), &authority); // those that came here from another replica
        self.hub.for_each(crate::session::hub::Handle::hint_trust);
        self.reload_workloads().await?;
        Ok(authority)
    }
}

/// Of both files, as they are.
fn content(chain: &Path, key: &Path) -> Sha256 {
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    Sha256::of(&[read(chain), read(key)].concat())
}

/// Opens the authority that the store knows, for the command line.
///
/// # Errors
/// If the store fails, or files are missing.
pub fn open(store: &Store, dir: &Path, trust_domain: &TrustDomain) -> anyhow::Result<Ca> {
    let authority: Authority =
        store.read_blocking(|tx| tx.authority_get()).map_err(|e: muster_store::Error| anyhow::anyhow!(e))?;
    Ok(Ca::open(dir, trust_domain, authority)?)
}
