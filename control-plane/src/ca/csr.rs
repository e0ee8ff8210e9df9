//! Certificate requests: a public key, proof that its private half is there,
//! and nothing else. A request that asks for names is refused rather than
//! stripped: whoever sends one believes something that is not so.

use muster_common::{digest::Sha256, reason::Reason};
use rcgen::{CertificateSigningRequestParams, PublicKeyData, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateSigningRequestDer;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

/// Largest request that is looked at.
const MAX_BYTES: usize = 4096;

/// A public key whose holder has proved to have the private half.
#[derive(Debug)]
pub struct PublicKey(SubjectPublicKeyInfo);

impl PublicKey {
    /// SHA-256 over the public key info.
    #[must_use]
    pub fn sha256(&self) -> Vec<u8> {
        Sha256::of(&self.0.subject_public_key_info()).as_bytes().to_vec()
    }

    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }
}

/// The key of a request.
///
/// # Errors
/// `CSR_INVALID` or `CSR_NAMES_FORBIDDEN`.
pub fn public_key(der: &[u8]) -> Result<PublicKey, Reason> {
    if der.len() > MAX_BYTES {
        return Err(Reason::CsrInvalid);
    }
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| Reason::CsrInvalid)?;
    let info = &request.certification_request_info;
    if !rest.is_empty() {
        return Err(Reason::CsrInvalid);
    }
    if info.subject.iter().next().is_some()
        || request.requested_extensions().is_some_and(|mut e| e.next().is_some())
    {
        return Err(Reason::CsrNamesForbidden);
    }
    let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| Reason::CsrInvalid)?;
    let allowed = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    if !allowed.contains(&key.algorithm()) {
        return Err(Reason::CsrInvalid);
    }
    // Verifies the signature, too: proof of possession.
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
        .map_err(|_| Reason::CsrInvalid)?;
    Ok(PublicKey(key))
}
