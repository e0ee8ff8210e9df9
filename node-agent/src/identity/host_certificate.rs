//! A certificate that the host has from another authority, by which it can come in.

use std::{path::Path, sync::Arc};

use muster_common::{
    digest::Sha256,
    proof,
    tls::{self, pem},
};
use muster_proto::agent::v1 as pb;
use prost::bytes::Bytes;
use rustls::sign::{CertifiedKey, SigningKey};

/// It cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of it cannot be used.
    #[error("the host certificate cannot be used")]
    File(#[from] pem::Error),
    /// The key cannot be used, or is another one's.
    #[error("the key of the host certificate cannot be used")]
    Key(#[from] rustls::Error),
    /// Nobody would take its signatures.
    #[error(
        "the key of the host certificate is of no kind that can be shown: ECDSA P-256 or P-384, Ed25519, RSA"
    )]
    Kind,
}

/// The certificate, with its key.
#[derive(Debug, Clone)]
pub struct HostCertificate {
    chain_der: Vec<Bytes>,
    key: Arc<dyn SigningKey>,
}

impl HostCertificate {
    /// As the two files say, PEM.
    ///
    /// # Errors
    /// If one of them cannot be used, or they do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let chain = pem::certificates(certificate)?;
        let chain_der = chain.iter().map(|der| Bytes::copy_from_slice(der)).collect();
        let both = CertifiedKey::from_der(chain, pem::private_key(key)?, &tls::provider())?;
        if both.key.choose_scheme(&proof::SCHEMES).is_none() {
            return Err(Error::Kind);
        }
        Ok(Self { chain_der, key: both.key })
    }

    /// Shows the certificate, and proves that the host has its key.
    pub(super) fn shown(&self, challenge: Bytes, csr_der: &[u8]) -> Result<pb::HostCertificate, Error> {
        let signer = self.key.choose_scheme(&proof::SCHEMES).ok_or(Error::Kind)?;
        let signature = signer.sign(&proof::enrollment(&challenge, Sha256::of(csr_der)))?;
        Ok(pb::HostCertificate { chain_der: self.chain_der.clone(), challenge, signature: signature.into() })
    }
}
