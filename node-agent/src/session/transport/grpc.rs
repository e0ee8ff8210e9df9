//! Over gRPC: one connection and one stream for each session.

use std::{sync::Arc, time::Duration};

use muster_proto::agent::v1::{self as pb, session_service_client::SessionServiceClient};
use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use super::{Error, Link, Transport};
use crate::{
    dial,
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
/// For the answer to the call itself, and for the last words.
const ANSWER: Duration = Duration::from_secs(20);
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Opens sessions with the identity of now.
#[derive(Debug, Clone)]
pub struct Grpc {
    trust: Trust,
}

#[derive(Debug, Clone)]
enum Trust {
    Identity(watch::Receiver<Identity>),
    Config(Arc<ClientConfig>),
}

impl Grpc {
    /// With the newest identity at each opening.
    #[must_use]
    pub const fn new(identity: watch::Receiver<Identity>) -> Self {
        Self { trust: Trust::Identity(identity) }
    }

    /// With TLS made elsewhere; for many sessions in one process.
    #[must_use]
    pub const fn with_config(config: Arc<ClientConfig>) -> Self {
        Self { trust: Trust::Config(config) }
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
pub struct Stream {
    out: mpsc::Sender<pb::SessionRequest>,
    inbound: Streaming<pb::SessionResponse>,
    /// Kept: the connection lives as long as the stream.
    _channel: Channel,
}

impl Transport for Grpc {
    type Link = Stream;

    async fn open(&mut self, address: &str, hello: Outbound) -> Result<Stream, Error> {
        let channel = dial::channel(address, self.config()?).await?;
        let mut client = SessionServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE);
        let (out, messages) = mpsc::channel(OUT);
        out.try_send(wire::outbound(hello)).map_err(|_| Error::Closed)?;
        let call = client.session(ReceiverStream::new(messages));
        match timeout(ANSWER, call).await {
            Ok(Ok(response)) => Ok(Stream { out, inbound: response.into_inner(), _channel: channel }),
            Ok(Err(status)) => Err(dial::Refusal::from(&status).into()),
            Err(_) => Err(Error::Stuck),
        }
    }
}

impl Link for Stream {
    async fn send(&mut self, message: Outbound) -> Result<(), Error> {
        match timeout(STUCK, self.out.send(wire::outbound(message))).await {
            Ok(Ok(())) => Ok(()),
            // Why it was closed stands on the inbound side.
            Ok(Err(_)) => self.next().await.map(|_| ()),
            Err(_) => Err(Error::Stuck),
        }
    }

    async fn next(&mut self) -> Result<Inbound, Error> {
        match self.inbound.message().await {
            Ok(Some(message)) => Ok(wire::inbound(message)),
            Ok(None) => Err(Error::Closed),
            Err(status) => Err(dial::Refusal::from(&status).into()),
        }
    }

    async fn finish(self) {
        let Self { out, mut inbound, _channel } = self;
        drop(out);
        let heard = async { while let Ok(Some(_)) = inbound.message().await {} };
        let _ = timeout(LAST_WORDS, heard).await;
    }
}
