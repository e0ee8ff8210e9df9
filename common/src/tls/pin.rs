//! The CA pin: SHA-256 over the root's SubjectPublicKeyInfo, as in a join string.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::digest::Sha256;

/// The pin of a root certificate. `None` if it does not parse.
#[must_use]
pub fn of_certificate(der: &[u8]) -> Option<Sha256> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Sha256::of(certificate.public_key().raw))
}
