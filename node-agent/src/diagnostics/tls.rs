//! TLS: who answers, by which certificates, and whether it is trusted.

use std::{sync::Arc, time::Duration};

use muster_common::{clock::UnixMillis, error_chain::Chain, tls};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Found, WITHIN, way::Line};

/// What ends sooner than this is told as something to look after.
const SOON: Duration = Duration::from_secs(24 * 3600);

const REPLACED: &str = "this is not the control plane that this host trusts: somebody on the way may put certificates of \
                        their own there (TLS inspection must let this address through), or the address belongs to another one";
const EXPIRED: &str =
    "see that this host's clock is right; if it is, the control plane needs a new certificate";
const BROKEN: &str = "see that nothing on the way speaks for the control plane: it speaks TLS 1.3 only";

/// Shakes hands. Without trust it only tells who answers.
pub(super) async fn shake(line: Line<'_>, trust: Option<Arc<ClientConfig>>, now: UnixMillis) -> Found {
    let Some(config) = trust else { return seen(line, now).await };
    let address = line.address;
    let stream = match line.connect().await {
        Ok(stream) => stream,
        Err(error) => return Found::failed(format!("cannot reach {address} again: {error}"), BROKEN),
    };
    let Some(name) = name(address) else {
        return Found::failed(format!("{address} is not of the form host:port"), "correct the address");
    };
    let handshake = timeout(WITHIN, TlsConnector::from(config).connect(name, stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return distrusted(line, &error, now).await,
        Err(_) => return Found::failed(format!("no handshake within {} s", WITHIN.as_secs()), BROKEN),
    };
    let connection = &stream.get_ref().1;
    let chain = connection.peer_certificates().unwrap_or_default();
    let version = connection.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let group = connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    let ends = chain.first().and_then(|leaf| ends(leaf));
    let who = chain.first().map(|leaf| described(leaf)).unwrap_or_default();
    let told = format!("{version}, {who}");
    let found = match ends {
        Some(at) if at.since(now) < SOON => Found::doubtful(
            told,
            "the control plane's certificate ends within a day; look why it is not renewed",
        ),
        _ => Found::passed(told),
    };
    found
        .with("version", version)
        .with("cipher-suite", suite)
        .with("key-exchange", group)
        .with("chain", shown(chain))
}

/// Why the handshake failed, and who answered.
async fn distrusted(line: Line<'_>, error: &std::io::Error, now: UnixMillis) -> Found {
    let remedy = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(
            rustls::CertificateError::Expired
            | rustls::CertificateError::ExpiredContext { .. }
            | rustls::CertificateError::NotValidYet
            | rustls::CertificateError::NotValidYetContext { .. },
        )) => EXPIRED,
        Some(Error::InvalidCertificate(_)) => REPLACED,
        _ => BROKEN,
    };
    let seen = seen(line, now).await;
    let told = match seen.outcome {
        super::Outcome::Failed => Chain(error).to_string(),
        _ => format!("{}; {}", Chain(error), seen.told),
    };
    Found { details: seen.details, ..Found::failed(told, remedy) }
}

/// Who answers, whoever it is. Nothing is said to it: the handshake is broken off there.
async fn seen(line: Line<'_>, now: UnixMillis) -> Found {
    let looking = Arc::new(Looking::default());
    let config = match looking.config() {
        Ok(config) => config,
        Err(error) => return Found::failed(error.to_string(), BROKEN),
    };
    let (Ok(stream), Some(name)) = (line.connect().await, name(line.address)) else {
        return Found::failed(format!("cannot reach {} again", line.address), BROKEN);
    };
    let broken_off = timeout(WITHIN, TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    let chain = std::mem::take(&mut *looking.chain.lock());
    let Some(leaf) = chain.first() else {
        let error = broken_off.ok().and_then(Result::err).map(|error| Chain(&error).to_string());
        return Found::failed(error.unwrap_or_else(|| "nobody shows a certificate".to_owned()), BROKEN);
    };
    let over = ends(leaf).is_some_and(|at| at <= now);
    let told = format!("it shows {}{}", described(leaf), if over { ", which is over" } else { "" });
    Found::passed(told).with("chain", shown(&chain))
}

fn name(address: &str) -> Option<ServerName<'static>> {
    let (host, _) = address.rsplit_once(':')?;
    ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}

fn ends(der: &CertificateDer<'_>) -> Option<UnixMillis> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(UnixMillis(certificate.validity().not_after.timestamp().saturating_mul(1000)))
}

/// One certificate in words.
fn described(der: &CertificateDer<'_>) -> String {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return "no certificate".to_owned() };
    let names = names(&certificate).join(", ");
    let who = if names.is_empty() { certificate.subject().to_string() } else { names };
    format!(
        "{who}, by {}, good until {}",
        certificate.issuer(),
        time(certificate.validity().not_after.timestamp())
    )
}

fn shown(chain: &[CertificateDer<'_>]) -> Value {
    let one = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(json!({
            "subject": certificate.subject().to_string(),
            "issuer": certificate.issuer().to_string(),
            "names": names(&certificate),
            "not-before": time(certificate.validity().not_before.timestamp()),
            "not-after": time(certificate.validity().not_after.timestamp()),
        }))
    };
    chain.iter().filter_map(one).collect()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(found)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::URI(name) | GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    found.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|four| std::net::Ipv4Addr::from(four).to_string());
    let sixteen = || <[u8; 16]>::try_from(bytes).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string());
    four.or_else(|_| sixteen()).ok()
}

fn time(seconds: i64) -> String {
    let at = UnixMillis(seconds.saturating_mul(1000)).to_system_time();
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Keeps what a server shows, and trusts nobody: with it no handshake ends well.
#[derive(Debug, Default)]
struct Looking {
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl Looking {
    fn config(self: &Arc<Self>) -> Result<ClientConfig, Error> {
        // Older versions, too: who answers in TLS 1.2 is not the control plane, and is told.
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)?;
        let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(self) as _;
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

impl ServerCertVerifier for Looking {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(others).map(|der| der.clone().into_owned());
        *self.chain.lock() = chain.collect();
        Err(Error::General("seen".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("seen".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("seen".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
