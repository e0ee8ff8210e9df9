//! How an issuer of OpenID Connect, or another server of others, is spoken with: one request on a
//! connection that was opened for it, within a size, without redirects. It is a public service, as a
//! rule: its certificate is under a root of the system.

use std::{io, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::tls;

/// Largest answer. The largest known sets of keys have some tens of KiB.
pub const MAX: usize = 256 * 1024;

/// No answer came.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection, or TLS on it, failed.
    #[error("cannot reach it")]
    Io(#[from] io::Error),
    /// Its name cannot be one of a server.
    #[error("its name cannot be used")]
    Name,
    /// TLS cannot be set up.
    #[error("TLS cannot be used")]
    Tls(#[from] rustls::Error),
    /// It does not speak HTTP, or ended before it was done.
    #[error("HTTP failed")]
    Http(#[from] hyper::Error),
    /// What is asked cannot be put into a request.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    /// The answer is not whole.
    #[error("the body broke off, or is larger than {MAX} bytes")]
    Body,
}

/// What is sent to it.
#[derive(Debug, Clone)]
pub struct Content {
    /// What kind of bytes.
    pub content_type: &'static str,
    /// Beside those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes.
    pub body: Bytes,
}

/// What it said.
#[derive(Debug)]
pub struct Answer {
    /// Of HTTP.
    pub status: StatusCode,
    /// All of it.
    pub body: Bytes,
}

/// The URL that a text is, if an issuer may be there: https, or http on this very machine.
///
/// # Errors
/// Why not, for people.
pub fn url(text: &str) -> Result<Uri, &'static str> {
    let Ok(url) = text.parse::<Uri>() else { return Err("it is no URL") };
    let host = host(&url);
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme_str() {
        _ if url.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Err("it names a user")
        }
        Some("https") if !host.is_empty() => Ok(url),
        Some("http") if is_loopback => Ok(url),
        Some("http") => {
            Err("http is for 127.0.0.1 and [::1] alone: whoever stands between could be the issuer")
        }
        _ => Err("it is no https URL"),
    }
}

/// Where a connection to it goes: the host, without brackets, and the port.
#[must_use]
pub fn place(url: &Uri) -> (&str, u16) {
    (host(url), url.port_u16().unwrap_or(if is_tls(url) { 443 } else { 80 }))
}

fn host(url: &Uri) -> &str {
    url.host().unwrap_or_default().trim_matches(['[', ']'])
}

fn is_tls(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// Asks over a connection to the URL's place: a GET, or a POST of this form. `roots`: instead
/// of the system's.
///
/// # Errors
/// If no whole answer comes. It may take for ever: who calls has a limit.
pub async fn ask(
    stream: TcpStream,
    url: &Uri,
    roots: Option<&RootCertStore>,
    form: Option<String>,
) -> Result<Answer, Error> {
    let content = form.map(|form| Content {
        content_type: "application/x-www-form-urlencoded",
        headers: Vec::new(),
        body: form.into(),
    });
    send(stream, url, roots, content).await
}

/// Asks over a connection to the URL's place: a GET, or a POST of this content. `roots`: instead
/// of the system's.
///
/// # Errors
/// If no whole answer comes. It may take for ever: who calls has a limit.
pub async fn send(
    stream: TcpStream,
    url: &Uri,
    roots: Option<&RootCertStore>,
    content: Option<Content>,
) -> Result<Answer, Error> {
    if !is_tls(url) {
        return exchange(stream, url, content).await;
    }
    let name = ServerName::try_from(host(url).to_owned()).map_err(|_| Error::Name)?;
    let config = client_config(roots.cloned().unwrap_or_else(tls::roots_of_the_system))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    exchange(stream, url, content).await
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn request(url: &Uri, content: Option<Content>) -> Result<Request<Full<Bytes>>, Error> {
    let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let authority = url.authority().ok_or(Error::Name)?.as_str();
    let mut request = match &content {
        None => Request::get(path),
        Some(content) => Request::post(path).header(CONTENT_TYPE, content.content_type),
    };
    for (name, value) in content.iter().flat_map(|content| &content.headers) {
        request = request.header(*name, value);
    }
    let request = request.header(HOST, authority).header(ACCEPT, "application/json");
    Ok(request.body(Full::new(content.map(|content| content.body).unwrap_or_default()))?)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Uri,
    content: Option<Content>,
) -> Result<Answer, Error> {
    let request = request(url, content)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX).collect().await.map_err(|_| Error::Body)?;
        Ok(Answer { status, body: body.to_bytes() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_at_an_https_url_or_on_this_machine() {
        for good in ["https://a.example/x", "https://a.example:444", "http://127.0.0.1:80/", "http://[::1]/x"]
        {
            assert!(url(good).is_ok(), "{good}");
        }
        let bad = [
            "http://a.example/",
            "http://localhost/",
            "/etc/keys",
            "",
            "ftp://a.example/",
            "https://u:p@a.example/",
            "https:///x",
        ];
        for bad in bad {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert_eq!(place(&url("http://[::1]:7/x").unwrap()), ("::1", 7));
        assert_eq!(place(&url("https://a.example/x").unwrap()), ("a.example", 443));
    }
}
