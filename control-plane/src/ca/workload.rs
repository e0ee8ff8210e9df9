//! Issuers of identities for programs: keys of their own, beside the authority and under
//! none of it. No port trusts them; a certificate of theirs opens nothing here.
//!
//! Which issuer stands where is in the store; keys are files in a folder per issuer, and leave
//! it encrypted alone. `ca/workload/N/`: `issuing.key` signs certificates, `jwt.key` tokens.

mod files;
mod jwt;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use base64::Engine as _;
use muster_common::{clock::UnixMillis, tls::workload::WorkloadId};
use muster_domain::workload::{Issuers as Standings, Standing};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Error, csr, issue};

use files::Signing;
pub use files::{forget_keys, has_keys, keys_of, make, put_keys};
pub use jwt::Claims;

/// The issuers of one installation. Follows the store with [`Issuers::take`].
pub struct Issuers {
    dir: PathBuf,
    ring: ArcSwap<Ring>,
    turn: Arc<Mutex<()>>,
}

/// The right to change issuers, until the last one of these is dropped.
pub type Alone = Arc<OwnedMutexGuard<()>>;

/// Those of now, with the keys that sign.
struct Ring {
    standings: Standings,
    signing: Signing,
    bundle: Arc<Bundle>,
}

/// By what certificates and tokens of programs are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Roots of certificates.
    pub x509_der: Vec<Vec<u8>>,
    /// Keys of tokens, as RFC 7517 has it.
    pub jwks: String,
}

/// An issued certificate.
#[derive(Debug, Clone)]
pub struct Svid {
    /// The leaf alone: its issuer is a root.
    pub chain_der: Vec<Vec<u8>>,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// End of validity.
    pub not_after: UnixMillis,
}

impl Issuers {
    /// Opens the issuers that the store has. `ca_dir`: of the authority.
    ///
    /// # Errors
    /// If files are missing or do not fit.
    pub fn open(ca_dir: &std::path::Path, standings: Standings) -> Result<Self, Error> {
        let ring = Ring::open(ca_dir, standings)?;
        Ok(Self { dir: ca_dir.to_owned(), ring: ArcSwap::from_pointee(ring), turn: Arc::default() })
    }

    /// Waits until nobody else in this process changes issuers. Two that made the next one at
    /// once would give it the same number, and each write over the other's keys.
    pub async fn alone(&self) -> Alone {
        Arc::new(Arc::clone(&self.turn).lock_owned().await)
    }

    /// Goes on with others.
    ///
    /// # Errors
    /// If their files are missing or do not fit; then the former ones go on.
    pub fn take(&self, standings: Standings) -> Result<(), Error> {
        if self.ring.load().standings != standings {
            self.ring.store(Arc::new(Ring::open(&self.dir, standings)?));
        }
        Ok(())
    }

    /// As they stand.
    #[must_use]
    pub fn standings(&self) -> Standings {
        self.ring.load().standings.clone()
    }

    /// Whom programs trust.
    #[must_use]
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.ring.load().bundle)
    }

    /// Name of a key that signs tokens, as in their header.
    #[must_use]
    pub fn key_id(jwt_key_der: &[u8]) -> String {
        jwt::key_id(jwt_key_der)
    }

    /// A certificate for a program: for both ends of a connection, and for this name alone.
    ///
    /// # Errors
    /// If signing fails.
    pub fn issue_x509(
        &self,
        id: &WorkloadId,
        key: &csr::PublicKey,
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<Svid, Error> {
        let ring = self.ring.load();
        let not_after = (now + ttl).min(ring.signing.not_after);
        let mut params: CertificateParams = issue::validity(now, not_after);
        params.subject_alt_names = vec![SanType::URI(id.to_string().as_str().try_into()?)];
        // Some libraries want it said.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(key.key(), &ring.signing.issuer)?;
        let facts = issue::read(leaf.der()).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        Ok(Svid { chain_der: vec![leaf.der().to_vec()], serial: facts.serial, not_after: facts.not_after })
    }

    /// A token that says this.
    ///
    /// # Errors
    /// If signing fails.
    pub fn sign_jwt(&self, claims: &Claims<'_>) -> Result<String, Error> {
        self.ring.load().signing.jwt.sign(claims)
    }

    /// Where their files are: the folder of the authority.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }
}

impl Ring {
    fn open(ca_dir: &std::path::Path, standings: Standings) -> Result<Self, Error> {
        let active = standings.at(Standing::Active).ok_or(Error::None)?;
        let signing = files::open(ca_dir, active)?;
        let keys =
            standings.all.iter().filter_map(|issuer| jwt::jwk(&issuer.jwt_key_der)).collect::<Vec<_>>();
        let bundle = Bundle {
            x509_der: standings.all.iter().map(|issuer| issuer.certificate_der.clone()).collect(),
            jwks: serde_json::json!({ "keys": keys }).to_string(),
        };
        Ok(Self { signing, bundle: Arc::new(bundle), standings })
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
