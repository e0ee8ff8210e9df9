//! Where an issuer's keys are, and how they come: one GET, within a time and a
//! size, to the place that was configured and to no other.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use muster_common::tls::{self, pem};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// For all of it.
const WITHIN: Duration = Duration::from_secs(10);
/// Largest answer. The largest known sets of keys have some tens of KiB.
const MAX: usize = 256 * 1024;

/// No keys came.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot reach it")]
    Io(#[from] io::Error),
    #[error("its name cannot be used")]
    Name,
    #[error("TLS cannot be used")]
    Tls(#[from] rustls::Error),
    #[error("HTTP failed")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("the body broke off, or is larger than {MAX} bytes")]
    Body,
    #[error("it answered {0}; redirects are not followed")]
    Status(http::StatusCode),
    #[error("it took longer than {} s", WITHIN.as_secs())]
    Slow,
    #[error("it is no set of keys")]
    Json(#[from] serde_json::Error),
}

/// Where keys are.
pub(super) enum Place {
    File(PathBuf),
    Url { url: http::Uri, roots: Option<RootCertStore> },
}

impl Place {
    pub(super) fn new(jwks: &str, ca_file: Option<&Path>) -> Result<Self, pem::Error> {
        let roots = ca_file.map(|file| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(pem::certificates(file)?);
            Ok(roots)
        });
        // The configuration has looked at the URL; what is none is a file.
        match jwks.parse::<http::Uri>() {
            Ok(url) if !jwks.starts_with('/') => Ok(Self::Url { url, roots: roots.transpose()? }),
            _ => Ok(Self::File(PathBuf::from(jwks))),
        }
    }

    pub(super) async fn fetch(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::File(path) => read(path).await,
            Self::Url { url, roots } => {
                timeout(WITHIN, get(url, roots.as_ref())).await.map_err(|_| Error::Slow)?
            }
        }
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    use tokio::io::AsyncReadExt as _;
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    let limit = u64::try_from(MAX).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_end(&mut bytes).await?;
    if bytes.len() > MAX { Err(Error::Body) } else { Ok(bytes) }
}

async fn get(url: &http::Uri, roots: Option<&RootCertStore>) -> Result<Vec<u8>, Error> {
    let is_tls = url.scheme_str() == Some("https");
    let host = url.host().ok_or(Error::Name)?.trim_matches(['[', ']']).to_owned();
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if !is_tls {
        return ask(stream, url).await;
    }
    let name = ServerName::try_from(host).map_err(|_| Error::Name)?;
    let config = client_config(roots.cloned().unwrap_or_else(of_the_system))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    ask(stream, url).await
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// An issuer is a public service, as a rule: its certificate is under a public root.
fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &http::Uri,
) -> Result<Vec<u8>, Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let authority = url.authority().ok_or(Error::Name)?.as_str();
    let request = http::Request::get(path)
        .header(http::header::HOST, authority)
        .header(http::header::ACCEPT, "application/json")
        .body(Empty::<bytes::Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        if answer.status() != http::StatusCode::OK {
            return Err(Error::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX).collect().await.map_err(|_| Error::Body)?;
        Ok(body.to_bytes().to_vec())
    };
    // The connection works as long as the answer is awaited, and ends with it.
    let (mut connection, mut answer) = (std::pin::pin!(connection), std::pin::pin!(answer));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What came before its end is there to be read; if that is not all, the reading says so.
        _ = &mut connection => answer.await,
    }
}
