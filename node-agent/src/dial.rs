//! Opens connections to the control plane: TCP, through a proxy where the host has one,
//! then TLS 1.3 with the given trust, then HTTP/2. Dials out only; every step has a limit.

mod dialer;

use std::{io, sync::Arc, time::Duration};

pub use dialer::Dialer;
use hyper_util::rt::TokioIo;
use muster_common::reason::Reason;
use parking_lot::Mutex;
use rustls::{
    CertificateError, ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::proxy;

/// For TCP and TLS together.
const WITHIN: Duration = Duration::from_secs(20);
/// How the agent learns that an idle link has died.
/// Between pings on a connection; on one that is idle, too.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(20);

/// No connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `host:port`.
    #[error("{0:?} is not an address of the form host:port")]
    Address(String),
    /// Nobody answers there.
    #[error("cannot reach {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The proxy between brings no connection.
    #[error("cannot reach {address}")]
    Proxy {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: proxy::Error,
    },
    /// It is not the control plane that is trusted.
    #[error("{address} is not a control plane that this host trusts")]
    Untrusted {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The handshake failed for another reason.
    #[error("the TLS handshake with {address} failed")]
    Handshake {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{address} did not answer within {} s", WITHIN.as_secs())]
    Slow {
        /// Where.
        address: String,
    },
    /// HTTP/2 could not be agreed on.
    #[error("cannot speak HTTP/2 with {address}")]
    Http {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// The certificates that a server showed, leaf first.
pub type Chain = Vec<CertificateDer<'static>>;

/// A connection to one address, past any proxy. It is not opened again when it breaks.
///
/// # Errors
/// Told apart by whose fault it is.
pub async fn channel(address: &str, tls: Arc<ClientConfig>) -> Result<Channel, Error> {
    let name = server(address)?;
    secured(directly(address).await?, address, name, tls).await.map(|(channel, _)| channel)
}

/// Whom an address names. A control plane gives addresses, too: nothing goes to a proxy or
/// a resolver that is not just a name and a port.
fn server(address: &str) -> Result<ServerName<'static>, Error> {
    let wrong = || Error::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    ServerName::try_from(host.to_owned()).map_err(|_| wrong())
}

async fn directly(address: &str) -> Result<TcpStream, Error> {
    let connect = async {
        TcpStream::connect(address)
            .await
            .map_err(|source| Error::Connect { address: address.to_owned(), source })
    };
    timeout(WITHIN, connect).await.map_err(|_| Error::Slow { address: address.to_owned() })?
}

/// As `channel`, over a connection that was opened elsewhere.
///
/// # Errors
/// Told apart by whose fault it is.
pub async fn over(stream: TcpStream, address: &str, tls: Arc<ClientConfig>) -> Result<Channel, Error> {
    secured(stream, address, server(address)?, tls).await.map(|(channel, _)| channel)
}

async fn secured(
    stream: TcpStream,
    address: &str,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> Result<(Channel, Chain), Error> {
    let uri = format!("https://{address}");
    let endpoint = Endpoint::from_shared(uri).map_err(|_| Error::Address(address.to_owned()))?;
    let slow = |_| Error::Slow { address: address.to_owned() };
    let stream = timeout(WITHIN, secure(stream, address, name, tls)).await.map_err(slow)??;
    let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
    let once = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_| {
        let stream = once.lock().take().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted));
        std::future::ready(stream)
    });
    endpoint
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_WITHIN)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map(|channel| (channel, chain))
        .map_err(|source| Error::Http { address: address.to_owned(), source })
}

async fn secure(
    stream: TcpStream,
    address: &str,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
    // Small messages that someone waits for.
    let _ = stream.set_nodelay(true);
    TlsConnector::from(tls).connect(name, stream).await.map_err(|source| {
        let address = address.to_owned();
        if is_distrust(&source) {
            Error::Untrusted { address, source }
        } else {
            Error::Handshake { address, source }
        }
    })
}

fn is_distrust(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        tls,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
                | CertificateError::NotValidForName
                | CertificateError::BadSignature
        ))
    )
}

/// What the control plane said no with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", reason.map(|reason| format!("{reason}: ")).unwrap_or_default())]
pub struct Refusal {
    /// Stable reason, if it gave one that this release knows.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
    /// When to try again, if it said so.
    pub retry_after: Option<Duration>,
    /// TLS said it: the certificate that was shown is not accepted.
    pub alert: bool,
}

impl Refusal {
    /// Whether the certificate that was shown is of no use any more.
    #[must_use]
    pub fn is_about_identity(&self) -> bool {
        self.alert || matches!(self.reason, Some(Reason::CertificateExpired | Reason::CertificateRevoked))
    }
}

impl Error {
    /// Whether one of the two sides does not accept the other's certificate.
    #[must_use]
    pub fn is_about_identity(&self) -> bool {
        match self {
            Self::Untrusted { .. } => true,
            Self::Handshake { source, .. } => is_alert(source),
            Self::Http { source, .. } => is_alert(source),
            Self::Address(_) | Self::Connect { .. } | Self::Proxy { .. } | Self::Slow { .. } => false,
        }
    }
}

/// Whether the other side ended TLS for the certificate that it was shown. With TLS
/// 1.3 that is told after our side has finished its handshake.
fn is_alert(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::AlertDescription as Alert;
    let tls = |error: &rustls::Error| {
        matches!(
            error,
            rustls::Error::AlertReceived(
                Alert::BadCertificate
                    | Alert::CertificateExpired
                    | Alert::CertificateRevoked
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::AccessDenied
            )
        )
    };
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.downcast_ref().is_some_and(tls)
            || inner.and_then(|inner| inner.downcast_ref()).is_some_and(tls)
        {
            return true;
        }
        next = error.source();
    }
    false
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().and_then(|info| Reason::parse(&info.reason));
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        let message = if status.message().is_empty() {
            format!("{:?}", status.code())
        } else {
            status.message().to_owned()
        };
        let alert = std::error::Error::source(status).is_some_and(is_alert);
        Self { reason, message, retry_after, alert }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_name_and_a_port_and_nothing_else() {
        for good in ["cp.example:8443", "192.0.2.1:1", "[2001:db8::1]:8443", "cp_1.example:65535"] {
            assert!(server(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "cp.example",
            "cp.example:",
            "cp.example:+80",
            "cp.example:65536",
            "cp.example:80\r\nX-Forwarded-For: 127.0.0.1",
            "cp.example\r\nX: 1:80",
            "cp.example HTTP/1.1:80",
            "user@cp.example:80",
            "[[::1]]:80",
        ] {
            assert!(matches!(server(wrong), Err(Error::Address(_))), "{wrong:?}");
        }
    }
}
