//! What is signed to prove that one holds a key.

use rustls::SignatureScheme;

use crate::digest::Sha256;

/// By what a host certificate's key signs: as in TLS 1.3, one for each kind of key.
pub const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

/// The bytes that a node signs to recover its identity: see `RecoverRequest` in
/// the protocol.
#[must_use]
pub fn recovery(challenge: &[u8], csr: Sha256) -> Vec<u8> {
    signed(b"muster-recover-v1\0", challenge, csr)
}

/// The bytes that a host signs with the key of a certificate of another authority,
/// to be let in: see `HostCertificate` in the protocol.
#[must_use]
pub fn enrollment(challenge: &[u8], csr: Sha256) -> Vec<u8> {
    signed(b"muster-enroll-v1\0", challenge, csr)
}

/// Each purpose has a prefix of its own, so that a signature for one is worth
/// nothing for another.
fn signed(purpose: &[u8], challenge: &[u8], csr: Sha256) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(purpose.len() + 8 + challenge.len() + 32);
    bytes.extend_from_slice(purpose);
    bytes.extend_from_slice(&(challenge.len() as u64).to_be_bytes());
    bytes.extend_from_slice(challenge);
    bytes.extend_from_slice(csr.as_bytes());
    bytes
}
