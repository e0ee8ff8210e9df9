//! The certificate authority: slots of a root and an issuing certificate each.
//! One of them signs every leaf. Names come from here; of a request only the
//! public key is taken.
//!
//! Which slot stands where is in the store; keys are files in a folder per slot,
//! and leave it encrypted alone. `ca/N/`: `root.crt`, `issuing.crt`, `issuing.key`, and for
//! slots that brought a root of their own `root.key` and `cross.crt`.

pub mod audit_key;
pub mod csr;
mod files;
mod issue;
pub mod proof;
mod slots;
pub mod workload;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    tls::{pem, pin, spiffe::TrustDomain},
};
use muster_domain::authority::{Authority, Standing};
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

pub use files::{Alone, alone};
pub use issue::{BACKDATE, Certificate, ServerIdentity};
pub use slots::{Scope, check_active, first, forget_keys, from_files, has_key, key_of, prepare, put_key};

const ROOT_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const ISSUING_TTL: Duration = Duration::from_secs(2 * 365 * 24 * 3600);

/// The authority of one installation. Follows the store's slots with [`Ca::take`].
pub struct Ca {
    dir: PathBuf,
    trust_domain: TrustDomain,
    ring: ArcSwap<Ring>,
    changed: watch::Sender<u64>,
}

/// The slots of now, with the key that signs.
struct Ring {
    authority: Authority,
    number: u32,
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    issuing_until: UnixMillis,
    issuer: Issuer<'static, KeyPair>,
    pin: Sha256,
}

/// What others should trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    /// Rises.
    pub version: u64,
    /// Roots: for whoever comes without more, to enroll or to recover.
    pub roots: Vec<CertificateDer<'static>>,
    /// Issuing certificates: for sessions.
    pub issuers: Vec<CertificateDer<'static>>,
}

/// Why the authority cannot be made, opened or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of it.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of it.
    #[error("cannot read the certificate authority")]
    Read(#[from] pem::Error),
    /// It is there already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// Certificate and key do not belong together, or do not parse.
    #[error("{} is not usable: {what}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The store knows no active slot.
    #[error("the store has no certificate authority")]
    None,
    /// Signing failed.
    #[error("cannot issue a certificate")]
    Issue(#[from] rcgen::Error),
}

impl Ca {
    /// Opens the authority whose slots the store has.
    ///
    /// # Errors
    /// If files are missing or do not fit each other or the slots.
    pub fn open(dir: &Path, trust_domain: &TrustDomain, authority: Authority) -> Result<Self, Error> {
        let ring = Ring::open(dir, authority)?;
        Ok(Self {
            dir: dir.to_owned(),
            trust_domain: trust_domain.clone(),
            ring: ArcSwap::from_pointee(ring),
            changed: watch::Sender::new(0),
        })
    }

    /// Goes on with other slots.
    ///
    /// # Errors
    /// If their files are missing or do not fit; then the former ones go on.
    pub fn take(&self, authority: Authority) -> Result<(), Error> {
        if self.ring.load().authority == authority {
            return Ok(());
        }
        self.ring.store(Arc::new(Ring::open(&self.dir, authority)?));
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// News of other slots.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The slots of now.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.ring.load().authority.clone()
    }

    /// Number of the slot that issues.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.ring.load().number
    }

    /// What nodes should trust.
    #[must_use]
    pub fn trust_bundle(&self) -> TrustBundle {
        let ring = self.ring.load();
        let mut roots: Vec<CertificateDer<'static>> = Vec::new();
        for slot in ring.authority.trusted() {
            if !roots.iter().any(|root| root.as_ref() == slot.root_der) {
                roots.push(slot.root_der.clone().into());
            }
        }
        let issuers = ring.authority.trusted().map(|slot| slot.issuing_der.clone().into()).collect();
        TrustBundle { version: ring.authority.bundle_version, roots, issuers }
    }

    /// What join strings carry: SHA-256 of the active root's public key info.
    #[must_use]
    pub fn pin(&self) -> Sha256 {
        self.ring.load().pin
    }

    /// A leaf with the certificate of the slot that issued it.
    #[must_use]
    pub fn chain_for(&self, leaf_der: &[u8], issuer: u32) -> Vec<Vec<u8>> {
        let ring = self.ring.load();
        let slot = ring.authority.slots.iter().find(|slot| slot.number == issuer);
        let issuing = slot.map(|slot| slot.issuing_der.clone());
        std::iter::once(leaf_der.to_vec()).chain(issuing).collect()
    }
}

impl Ring {
    fn open(dir: &Path, authority: Authority) -> Result<Self, Error> {
        let slot = authority.at(Standing::Active).ok_or(Error::None)?;
        let opened = slots::open(dir, slot)?;
        let pin = pin::of_certificate(&opened.root).ok_or(Error::Unusable {
            path: slots::folder(dir, slot.number),
            what: "the root is not a certificate",
        })?;
        Ok(Self {
            number: slot.number,
            root: opened.root,
            issuing: opened.issuing,
            issuing_until: slot.not_after,
            issuer: opened.issuer,
            pin,
            authority,
        })
    }
}

#[cfg(test)]
mod tests;
