//! The control plane's side.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};

use super::{Error, Identity, provider};

const ALPN_H2: &[u8] = b"h2";

/// Every peer must show a certificate under these roots, or the handshake ends.
///
/// # Errors
/// If the roots are empty or the identity does not fit itself.
pub fn server_config(identity: Identity, client_roots: RootCertStore) -> Result<ServerConfig, Error> {
    build(identity, client_verifier(client_roots)?)
}

/// Accepts client certificates under these anchors.
///
/// # Errors
/// If there are none.
pub fn client_verifier(anchors: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider())
        // The list of our roots' names helps no agent and would tell strangers who we are.
        .clear_root_hint_subjects()
        .build()?)
}

/// For the enrollment port: the caller has no certificate yet.
///
/// # Errors
/// If the identity does not fit itself.
pub fn server_config_without_client_certificates(identity: Identity) -> Result<ServerConfig, Error> {
    build(identity, WebPkiClientVerifier::no_client_auth())
}

/// For browsers: a caller may show a certificate under these roots, or none.
///
/// # Errors
/// If the roots are empty or the identity does not fit itself.
pub fn server_config_with_or_without_client_certificates(
    identity: Identity,
    client_roots: RootCertStore,
) -> Result<ServerConfig, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(client_roots), provider())
        .clear_root_hint_subjects()
        .allow_unauthenticated()
        .build()?;
    build(identity, verifier)
}

fn build(identity: Identity, verifier: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| Error::Unusable { what: "TLS 1.3", source })?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .map_err(|source| Error::Unusable { what: "the server certificate", source })?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Ok(config)
}
