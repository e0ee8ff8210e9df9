//! The port for probes and scrapers: `/metrics`, `/livez`, `/readyz`, and the keys of
//! programs' tokens at `/.well-known/jwks.json`. Plain HTTP, read only, on the loopback
//! address unless someone wants otherwise.

mod jwks;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use muster_common::{
    drain::Drain,
    tasks::{Kind, Tasks},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use crate::metrics::Metrics;

const AT_ONCE: usize = 32;
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(30);

/// Whether the process can do its work; what it still waits for.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<Mutex<Vec<&'static str>>>);

impl Ready {
    /// Something is missing.
    pub fn waits_for(&self, what: &'static str) {
        let mut missing = self.0.lock();
        if !missing.contains(&what) {
            missing.push(what);
        }
    }

    /// It is there.
    pub fn has(&self, what: &'static str) {
        self.0.lock().retain(|missing| *missing != what);
    }

    fn missing(&self) -> Vec<&'static str> {
        self.0.lock().clone()
    }
}

/// What is published of programs' identities.
#[derive(Clone)]
pub struct Published {
    /// Who issues them. `None`: nobody.
    pub workloads: Option<Arc<crate::ca::workload::Issuers>>,
    /// How long others may keep what they were told.
    pub fresh_for: Duration,
}

/// The open port.
pub struct Console {
    listener: TcpListener,
    metrics: Metrics,
    ready: Ready,
    published: Published,
}

impl Console {
    /// Opens the port.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        metrics: Metrics,
        ready: Ready,
        published: Published,
    ) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, metrics, ready, published })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the end of draining: a probe must see that the process drains.
    pub async fn serve(self, drain: Drain, tasks: Tasks) {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = drain.deadline() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (metrics, ready, published) =
                (self.metrics.clone(), self.ready.clone(), self.published.clone());
            tasks.spawn("console", Kind::BestEffort, async move {
                let _permit = permit;
                let answer = service_fn(move |request| {
                    let response = answer(&request, &metrics, &ready, &published);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
                let _ = timeout(WHOLE, http.serve_connection(TokioIo::new(stream), answer)).await;
            });
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    metrics: &Metrics,
    ready: &Ready,
    published: &Published,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = text(StatusCode::OK, metrics.encode());
            let kind = header::HeaderValue::from_static(
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            );
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        "/livez" => text(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => match ready.missing().as_slice() {
            [] => text(StatusCode::OK, "ready\n".to_owned()),
            missing => text(StatusCode::SERVICE_UNAVAILABLE, format!("waits for {}\n", missing.join(", "))),
        },
        jwks::PATH => jwks::answer(request, published),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /livez, /readyz and /.well-known/jwks.json\n".to_owned(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    /// The first line and the body of an answer; `None`: nobody is there.
    async fn ask(address: SocketAddr, method: &str, path: &str) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.lines().next()?.to_owned(), body.to_owned()))
    }

    #[tokio::test]
    async fn readiness_says_what_is_missing_and_probes_are_answered_until_the_end_of_draining() {
        let (ready, drain, tasks) = (Ready::default(), Drain::default(), Tasks::default());
        ready.waits_for("store");
        ready.waits_for("doors");
        let none = Published { workloads: None, fresh_for: Duration::from_secs(1) };
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let console = Console::bind(nowhere, Metrics::default(), ready.clone(), none).await.unwrap();
        let address = console.local_addr().unwrap();
        tasks.spawn("console", Kind::BestEffort, console.serve(drain.clone(), tasks.clone()));
        let told = async |path: &str| ask(address, "GET", path).await.unwrap();
        let line = |status: &str| format!("HTTP/1.1 {status}");

        let unready = line("503 Service Unavailable");
        assert_eq!(told("/readyz").await, (unready.clone(), "waits for store, doors\n".to_owned()));
        assert_eq!(told("/livez").await, (line("200 OK"), "alive\n".to_owned()), "it lives while it starts");
        ready.has("store");
        assert_eq!(told("/readyz").await, (unready.clone(), "waits for doors\n".to_owned()));
        ready.has("doors");
        assert_eq!(told("/readyz").await, (line("200 OK"), "ready\n".to_owned()));
        assert_eq!(told(jwks::PATH).await.0, line("404 Not Found"), "nothing is issued here");
        let posted = ask(address, "POST", "/readyz").await.unwrap();
        assert_eq!(posted.0, line("405 Method Not Allowed"));

        ready.waits_for("the end");
        drain.begin();
        assert_eq!(told("/readyz").await, (unready, "waits for the end\n".to_owned()));
        assert_eq!(told("/livez").await.0, line("200 OK"), "it ends its work, and lives");
        drain.cut();
        tasks.close();
        tasks.ended().await;
        assert_eq!(ask(address, "GET", "/livez").await, None);
    }
}
