//! TLS as Muster uses it: 1.3 only, aws-lc-rs, hybrid key exchange first, no
//! resumption in either direction, private roots only.
//!
//! Resumption is off because a resumed session skips certificate checks: a
//! revoked or expired peer could go on for as long as its ticket lives.

mod client;
pub mod pem;
pub mod pin;
mod server;
pub mod spiffe;
pub mod workload;

pub use client::{client_config, enrollment_client_config, judge_server, recovery_client_config};
pub use server::{
    client_verifier, server_config, server_config_with_or_without_client_certificates,
    server_config_without_client_certificates,
};

use std::sync::Arc;

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// A certificate chain, leaf first, and the key of the leaf.
#[derive(Debug)]
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the leaf.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// TLS material that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Roots, chain or key do not fit rustls or each other.
    #[error("cannot use {what}")]
    Unusable {
        /// What was being built.
        what: &'static str,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// A server's certificates do not lead to these roots.
    #[error("these roots do not vouch for the control plane")]
    Server(#[source] rustls::Error),
    /// No client verifier from these roots.
    #[error("cannot verify clients with these roots")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The one crypto provider of this process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A root store of exactly these roots.
///
/// # Errors
/// If one of them is not a certificate.
pub fn roots(ders: &[CertificateDer<'static>]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for der in ders {
        store.add(der.clone()).map_err(|source| Error::Unusable { what: "a root certificate", source })?;
    }
    Ok(store)
}

/// The authorities of the web that this host trusts, for public services. It reads files.
#[must_use]
pub fn roots_of_the_system() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

#[cfg(test)]
mod tests;
