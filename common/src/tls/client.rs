//! An agent's side: the server is judged by its URI name, never by its DNS name.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::TLS13,
};

use super::{
    Error, Identity, pin, provider,
    spiffe::{self, Principal, TrustDomain},
};
use crate::{clock::UnixMillis, digest::Sha256};

const ALPN_H2: &[u8] = b"h2";

/// For a host with an identity: mTLS to a control plane of this trust domain.
///
/// # Errors
/// If the identity does not fit itself.
pub fn client_config(
    identity: Identity,
    roots: RootCertStore,
    trust_domain: TrustDomain,
) -> Result<ClientConfig, Error> {
    let trust = Trust::Roots { roots, trust_domain };
    builder(trust)?
        .with_client_auth_cert(identity.chain, identity.key)
        .map(finish)
        .map_err(|source| Error::Unusable { what: "the client certificate", source })
}

/// Whether a control plane that showed these certificates, leaf first, would be
/// trusted with these roots.
///
/// # Errors
/// If it would not.
pub fn judge_server(
    chain: &[CertificateDer<'_>],
    roots: RootCertStore,
    trust_domain: TrustDomain,
    now: UnixMillis,
) -> Result<(), Error> {
    let verifier = Verifier { trust: Trust::Roots { roots, trust_domain }, provider: provider() };
    let Some((leaf, others)) = chain.split_first() else {
        return Err(Error::Server(TlsError::NoCertificatesPresented));
    };
    let now = UnixTime::since_unix_epoch(now.since(UnixMillis(0)));
    let nameless = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()); // never looked at
    verifier.verify_server_cert(leaf, others, &nameless, &[], now).map(|_| ()).map_err(Error::Server)
}

/// For a host without one: the control plane is known by the pin of its root alone.
///
/// # Errors
/// Never with the provider this crate uses.
pub fn enrollment_client_config(ca_pin: Sha256) -> Result<ClientConfig, Error> {
    Ok(finish(builder(Trust::Pin(ca_pin))?.with_no_client_auth()))
}

/// For a host whose certificate is of no use any more: the control plane is known
/// by roots of before.
///
/// # Errors
/// Never with the provider this crate uses.
pub fn recovery_client_config(
    roots: RootCertStore,
    trust_domain: TrustDomain,
) -> Result<ClientConfig, Error> {
    Ok(finish(builder(Trust::Roots { roots, trust_domain })?.with_no_client_auth()))
}

fn builder(
    trust: Trust,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
    let provider = provider();
    let verifier = Arc::new(Verifier { trust, provider: Arc::clone(&provider) });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| Error::Unusable { what: "TLS 1.3", source })?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config
}

#[derive(Debug)]
enum Trust {
    Roots {
        roots: RootCertStore,
        trust_domain: TrustDomain,
    },
    /// The server sends its root along; it counts only if it has this pin.
    Pin(Sha256),
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn check_name(&self, leaf: &CertificateDer<'_>) -> Result<(), TlsError> {
        let refuse = TlsError::InvalidCertificate(CertificateError::NotValidForName);
        let id = spiffe::read_leaf(leaf).map_err(|_| refuse.clone())?.id;
        let domain_fits = match &self.trust {
            Trust::Roots { trust_domain, .. } => id.trust_domain == *trust_domain,
            Trust::Pin(_) => true, // the pinned root vouches for its own domain
        };
        if domain_fits && matches!(id.principal, Principal::ControlPlane(_)) { Ok(()) } else { Err(refuse) }
    }

    fn pinned_roots(pin: Sha256, chain: &[CertificateDer<'_>]) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for der in chain.iter().filter(|der| pin::of_certificate(der) == Some(pin)) {
            roots.add(der.clone().into_owned())?;
        }
        if roots.is_empty() {
            // Told apart from other failures: this is the one a person must look at.
            return Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        Ok(roots)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let pinned;
        let roots = match &self.trust {
            Trust::Roots { roots, .. } => roots,
            Trust::Pin(pin) => {
                pinned = Self::pinned_roots(*pin, intermediates)?;
                &pinned
            }
        };
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        self.check_name(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
