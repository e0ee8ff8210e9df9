//! Over gRPC: one connection and one stream for each session.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use muster_common::settings::Service;
use muster_proto::agent::v1::{self as pb, session_service_client::SessionServiceClient};
use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{Error, LAST_WORDS, Link, Transport, why_closed};
use crate::{
    dial::{self, Dialer},
    identity::Identity,
    session::{
        frames::{Inbound, Outbound},
        wire,
    },
};

/// Largest message from the control plane.
const MESSAGE: usize = 4 * 1024 * 1024;
/// Messages on their way out.
const OUT: usize = 16;
/// The other side must take a message within this.
const STUCK: Duration = Duration::from_secs(30);
/// For the answer to the call itself.
const ANSWER: Duration = Duration::from_secs(20);

/// Opens sessions with the identity of now.
#[derive(Debug, Clone)]
pub struct Grpc {
    trust: Trust,
    server: watch::Sender<dial::Chain>,
    dialer: Dialer,
}

#[derive(Debug, Clone)]
enum Trust {
    Identity(watch::Receiver<Identity>),
    Config(Arc<ClientConfig>),
}

impl Grpc {
    /// With the newest identity at each opening.
    #[must_use]
    pub fn new(identity: watch::Receiver<Identity>) -> Self {
        Self::trusting(Trust::Identity(identity))
    }

    /// With TLS made elsewhere; for many sessions in one process.
    #[must_use]
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        Self::trusting(Trust::Config(config))
    }

    fn trusting(trust: Trust) -> Self {
        Self { trust, server: watch::Sender::default(), dialer: Dialer::default() }
    }

    /// The same, by another way than past all proxies.
    #[must_use]
    pub fn by(self, dialer: Dialer) -> Self {
        Self { dialer, ..self }
    }

    /// The certificates that the control plane showed in the newest session.
    #[must_use]
    pub fn server(&self) -> watch::Receiver<dial::Chain> {
        self.server.subscribe()
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        match &self.trust {
            Trust::Identity(identity) => Ok(Arc::new(identity.borrow().client_config()?)),
            Trust::Config(config) => Ok(Arc::clone(config)),
        }
    }
}

/// One stream.
#[derive(Debug)]
pub struct GrpcLink {
    out: mpsc::Sender<pb::SessionRequest>,
    inbound: Streaming<pb::SessionResponse>,
    /// Kept: the connection lives as long as the stream.
    _channel: Channel,
}

impl Transport for Grpc {
    type Link = GrpcLink;

    async fn open(&mut self, address: &str, hello: Outbound) -> Result<GrpcLink, Error> {
        let config = self.config()?;
        let (channel, chain) = self.dialer.channel_and_chain(Service::Session, address, config).await?;
        self.server.send_replace(chain);
        let mut client = SessionServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE);
        let (out, messages) = mpsc::channel(OUT);
        out.try_send(wire::outbound(hello)).map_err(|_| Error::Closed)?;
        let call = client.session(ReceiverStream::new(messages));
        match timeout(ANSWER, call).await {
            Ok(Ok(response)) => Ok(GrpcLink { out, inbound: response.into_inner(), _channel: channel }),
            Ok(Err(status)) => Err(dial::Refusal::from(&status).into()),
            Err(_) => Err(Error::Stuck),
        }
    }
}

impl Link for GrpcLink {
    async fn send(&mut self, message: Outbound) -> Result<(), Error> {
        match timeout(STUCK, self.out.send(wire::outbound(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(why_closed(&mut (&mut self.inbound).map(heard)).await),
            Err(_) => Err(Error::Stuck),
        }
    }

    async fn next(&mut self) -> Result<Inbound, Error> {
        self.inbound.next().await.map_or(Err(Error::Closed), heard)
    }

    async fn finish(self) {
        let Self { out, mut inbound, _channel } = self;
        drop(out);
        let heard = async { while let Ok(Some(_)) = inbound.message().await {} };
        let _ = timeout(LAST_WORDS, heard).await;
    }
}

fn heard(said: Result<pb::SessionResponse, Status>) -> Result<Inbound, Error> {
    said.map(wire::inbound).map_err(|status| dial::Refusal::from(&status).into())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::session::frames::{Ack, Body, Reconnect};

    fn said(body: Body) -> Result<Inbound, Error> {
        Ok(Inbound { session: None, body })
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_sent_is_never_taken_for_sent() {
        let refused = || Err(dial::Refusal::from(&Status::aborted("fenced")).into());
        let news = || said(Body::Ack(Ack::default()));
        let why = why_closed(&mut stream::iter([news(), news(), refused()])).await;
        assert!(matches!(why, Error::Refused(refusal) if refusal.message == "fenced"));
        assert!(matches!(why_closed(&mut stream::iter([news()])).await, Error::Closed));
        assert!(matches!(why_closed(&mut stream::pending()).await, Error::Closed));
    }

    #[tokio::test]
    async fn who_is_told_to_go_while_it_speaks_hears_it() {
        let word = || said(Body::Reconnect(Reconnect::default()));
        let why = why_closed(&mut stream::iter([said(Body::Ack(Ack::default())), word()])).await;
        assert!(matches!(why, Error::LastWord(last) if Some(&*last) == word().ok().as_ref()));
    }
}
