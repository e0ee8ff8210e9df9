//! A browser without a window: asks for pages of the fleet console, with a certificate or a
//! cookie, or neither.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::eventually::{LONG, eventually};

/// One connection to the console.
#[derive(Debug, Clone)]
pub struct Visitor {
    requests: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
    /// Sent with every request, if it is not empty.
    pub cookie: String,
    /// What a browser says besides.
    pub said: Vec<(&'static str, &'static str)>,
}

/// A page as it came.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// Events of a page, as they are told.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    told: String,
}

impl Events {
    /// Waits until something is told, after what was waited for before. What was told until then.
    pub async fn until(&mut self, what: &str) -> String {
        loop {
            if let Some(at) = self.told.find(what) {
                return self.told.drain(..at + what.len()).collect();
            }
            let frame = tokio::time::timeout(LONG, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{what:?} is not told, but {}", self.told));
            let frame = frame.unwrap_or_else(|| panic!("it ended without {what:?}: {}", self.told)).unwrap();
            self.told.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }
}

impl Visitor {
    /// Connects; waits until the console is there.
    #[allow(clippy::disallowed_methods)] // ends with the test
    pub async fn connect(address: SocketAddr, tls: ClientConfig) -> Self {
        let tls = TlsConnector::from(Arc::new(tls));
        let requests = eventually("the fleet console is there", LONG, || async {
            let stream = TcpStream::connect(address).await.ok()?;
            let name = ServerName::from(address.ip());
            let stream = tls.connect(name, stream).await.ok()?;
            let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
            tokio::spawn(connection);
            Some(requests)
        });
        Self { requests: requests.await, address, cookie: String::new(), said: Vec::new() }
    }

    /// Whether its connection was ended.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.requests.is_closed()
    }

    /// Asks for a page.
    pub async fn get(&self, path: &str) -> Page {
        self.ask("GET", path).await
    }

    /// Asks by another method.
    pub async fn ask(&self, method: &str, path: &str) -> Page {
        let (parts, body) = self.open(method, path).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Page { status: parts.status, headers: parts.headers, text }
    }

    /// Asks, and leaves the body to be read as it comes.
    pub async fn open(&self, method: &str, path: &str) -> http::Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("https://{}{path}", self.address));
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        for (name, value) in &self.said {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone();
        requests.ready().await.unwrap();
        requests.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
    }

    /// Asks for the events of a page.
    pub async fn events(&self, path: &str) -> Events {
        let answer = self.open("GET", path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        Events { body: answer.into_body(), told: String::new() }
    }

    /// Comes by a link, and keeps the cookie.
    pub async fn come_by(&mut self, link: &str) -> Page {
        let path = link.trim().split_once("/link/").expect("a link").1;
        let page = self.get(&format!("/link/{path}")).await;
        if let Some(kept) = page.headers.get(header::SET_COOKIE) {
            kept.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        page
    }
}
