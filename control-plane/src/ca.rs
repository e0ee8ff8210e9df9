//! The certificate authority: a root that is used once, and an issuing
//! intermediate that signs every leaf. Names come from here; of a request only
//! the public key is taken.

pub mod audit_key;
pub mod csr;
mod files;
mod issue;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    tls::{pem, pin, spiffe::TrustDomain},
};
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

pub use issue::Certificate;

const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOT_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const ISSUING_TTL: Duration = Duration::from_secs(2 * 365 * 24 * 3600);

const ROOT: &str = "root";
const ISSUING: &str = "issuing";

/// The authority of one installation.
pub struct Ca {
    trust_domain: TrustDomain,
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    issuing_until: UnixMillis,
    issuer: Issuer<'static, KeyPair>,
    pin: Sha256,
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
    /// Signing failed.
    #[error("cannot issue a certificate")]
    Issue(#[from] rcgen::Error),
}

impl Ca {
    /// Makes a new authority in an empty or absent folder.
    ///
    /// # Errors
    /// If one is there already, or files cannot be written.
    pub fn create(dir: &Path, trust_domain: &TrustDomain, now: UnixMillis) -> Result<Self, Error> {
        let root_path = dir.join("root.crt");
        if root_path.exists() {
            return Err(Error::Exists(root_path));
        }
        let root = issue::root(trust_domain, now, ROOT_TTL)?;
        let (issuing, issuing_key) = issue::intermediate(trust_domain, &root, now, ISSUING_TTL)?;
        files::folder(dir)?;
        files::secret(&dir.join("issuing.key"), &issuing_key.serialize_pem())?;
        files::public(&dir.join("issuing.crt"), &pem::encode_certificates([&issuing]))?;
        files::secret(&dir.join("root.key"), &root.key().serialize_pem())?;
        // Last: its presence says that the rest is there.
        files::public(&root_path, &pem::encode_certificates([root.der()]))?;
        Self::open(dir, trust_domain)
    }

    /// Opens the authority of a folder.
    ///
    /// # Errors
    /// If files are missing or do not fit each other.
    pub fn open(dir: &Path, trust_domain: &TrustDomain) -> Result<Self, Error> {
        let (root, _) = first(&dir.join(format!("{ROOT}.crt")))?;
        let (issuing, path) = first(&dir.join(format!("{ISSUING}.crt")))?;
        let key_path = dir.join(format!("{ISSUING}.key"));
        let key = std::fs::read_to_string(&key_path)
            .map_err(|source| pem::Error::Read { path: key_path.clone(), source })?;
        let key = KeyPair::from_pem(&key)
            .map_err(|_| Error::Unusable { path: key_path.clone(), what: "it is not a private key" })?;
        let unusable = |what| Error::Unusable { path: path.clone(), what };
        let facts = issue::read(&issuing).ok_or_else(|| unusable("it is not a certificate"))?;
        if facts.public_key_sha256 != Sha256::of(&rcgen::PublicKeyData::subject_public_key_info(&key)) {
            return Err(unusable("its key is another one than issuing.key"));
        }
        let pin = pin::of_certificate(&root).ok_or_else(|| unusable("the root is not a certificate"))?;
        let issuer = Issuer::from_ca_cert_der(&issuing, key)?;
        let issuing_until = facts.not_after;
        Ok(Self { trust_domain: trust_domain.clone(), root, issuing, issuing_until, issuer, pin })
    }

    /// Roots that nodes should trust, and their version.
    #[must_use]
    pub fn trust_bundle(&self) -> (u64, Vec<CertificateDer<'static>>) {
        (1, vec![self.root.clone()])
    }

    /// What join strings carry: SHA-256 of the root's public key info.
    #[must_use]
    pub fn pin(&self) -> Sha256 {
        self.pin
    }

    /// A leaf with what is needed to reach the root; leaf first, root not included.
    #[must_use]
    pub fn chain_for(&self, leaf_der: &[u8]) -> Vec<Vec<u8>> {
        vec![leaf_der.to_vec(), self.issuing.to_vec()]
    }
}

fn first(path: &Path) -> Result<(CertificateDer<'static>, PathBuf), Error> {
    let found = pem::certificates(path)?.into_iter().next();
    let found = found.ok_or(Error::Unusable { path: path.to_owned(), what: "it holds no certificate" })?;
    Ok((found, path.to_owned()))
}

#[cfg(test)]
mod tests;
