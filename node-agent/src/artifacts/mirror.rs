//! A static mirror as a source: HTTP/1.1, one connection for each file. It is believed in
//! nothing; so all that matters is that it can neither hold nor lead us anywhere.

mod answer;

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use muster_common::{
    build_info,
    error_chain::Chain,
    settings::{MirrorUrl, Service},
    tasks::{Kind, Tasks},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    fault::{Fault, Piece, Pieces},
    roots::Roots,
};
use crate::dial::{self, Dialer};

/// For the head of an answer.
const WITHIN: Duration = Duration::from_secs(30);
/// Most bytes of a head.
const MOST_HEAD: usize = 16 * 1024;

/// A mirror. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Mirror {
    url: MirrorUrl,
    dialer: Dialer,
    roots: Roots,
}

impl Mirror {
    /// At this address, by this way.
    #[must_use]
    pub(super) const fn new(url: MirrorUrl, dialer: Dialer, roots: Roots) -> Self {
        Self { url, dialer, roots }
    }

    pub(super) async fn open(&self, path: &str, offset: u64) -> Result<Pieces, Fault> {
        let address = self.url.address();
        let request = self.request(path, offset)?;
        let answer = if self.url.tls() {
            let tls = self.roots.trusting_the_system().await?;
            let opened = self.dialer.secure_stream(Service::Artifacts, &address, tls).await;
            let stream = opened.map_err(|error| {
                self.roots.forget(); // an authority may have been added meanwhile
                no_way(&error)
            })?;
            send(stream, request).await?
        } else {
            let stream =
                self.dialer.stream(Service::Artifacts, &address).await.map_err(|error| no_way(&error))?;
            send(stream, request).await?
        };
        let skip = answer::begins_at(answer.status(), answer.headers(), offset)?;
        Ok(pieces(answer, skip))
    }

    fn request(&self, path: &str, offset: u64) -> Result<Request<Empty<Bytes>>, Fault> {
        let request = Request::get(self.url.path(path))
            .header(header::HOST, self.url.address())
            .header(header::USER_AGENT, format!("muster-node-agent/{}", build_info::version()))
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close");
        let request =
            if offset == 0 { request } else { request.header(header::RANGE, format!("bytes={offset}-")) };
        request
            .body(Empty::new())
            .map_err(|error| Fault::Network(format!("the address cannot be used: {error}")))
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

fn no_way(error: &dial::Error) -> Fault {
    Fault::Network(Chain(error).to_string())
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Fault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| Fault::Network(Chain(&error).to_string());
    let answer = async {
        let mut http = http1::Builder::new();
        http.max_buf_size(MOST_HEAD);
        let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // Ends with the answer, or when nobody reads it any more.
        Tasks::default().spawn("mirror", Kind::BestEffort, async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to a mirror broke: {}", Chain(&error));
            }
        });
        sender.send_request(request).await.map_err(failed)
    };
    timeout(WITHIN, answer).await.map_err(|_| Fault::Network("no answer came in time".to_owned()))?
}

/// The bytes of an answer, without those that we have.
fn pieces(answer: Response<Incoming>, skip: u64) -> Pieces {
    let next = |(mut body, mut skip): (Incoming, u64)| async move {
        let piece = match body.frame().await? {
            Ok(frame) => {
                let data = frame.into_data().unwrap_or_default();
                let over = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
                skip -= over as u64;
                Ok(Piece { skipped: over as u64, bytes: data.slice(over..) })
            }
            Err(error) => Err(Fault::Network(Chain(&error).to_string())),
        };
        Some((piece, (body, skip)))
    };
    stream::unfold((answer.into_body(), skip), next).boxed()
}
