//! A node that says what it wants: for what no agent of ours would say.

use std::sync::Arc;

use http::uri::PathAndQuery;
use muster_common::{
    ids::{InstanceId, LedgerId},
    join::JoinString,
};
use muster_node_agent::{
    dial,
    identity::{Identity, Store, Wish, enroll},
};
use muster_proto::{
    agent::v1::{self as pb, session_request::Kind},
    codec::SmallCodec,
};
use prost::{Message as _, bytes::BufMut as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    codec::{Codec, EncodeBuf, Encoder},
    transport::Channel,
};

/// An identity without an agent.
#[derive(Debug)]
pub struct RawNode {
    /// Its identity.
    pub identity: Identity,
    _folder: tempfile::TempDir,
}

/// A stream on which anything can be said.
#[derive(Debug)]
pub struct RawSession {
    out: mpsc::Sender<Vec<u8>>,
    inbound: Streaming<pb::SessionResponse>,
}

impl RawNode {
    /// Enrolls.
    pub async fn enroll(join: &JoinString) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wish = Wish {
            display_name: "raw".to_owned(),
            hostname: "raw".to_owned(),
            machine_fingerprint: muster_common::digest::Sha256::ZERO,
            labels: std::collections::BTreeMap::new(),
        };
        let identity =
            enroll(&Store::new(folder.path()), &join.clone().into(), &wish).await.expect("it enrolls");
        Self { identity, _folder: folder }
    }

    /// Opens a stream and says this first.
    ///
    /// # Errors
    /// If the call is refused at once.
    pub async fn open(&self, first: Kind) -> Result<RawSession, Status> {
        let tls = Arc::new(self.identity.client_config().expect("the identity fits"));
        let channel = dial::channel(&self.identity.session_addresses[0], tls)
            .await
            .map_err(|error| Status::unavailable(muster_common::error_chain::Chain(&error).to_string()))?;
        let (out, messages) = mpsc::channel(64);
        let _ = out.send(encoded(first)).await;
        let mut grpc = client(channel).await?;
        let path = PathAndQuery::from_static("/muster.agent.v1.SessionService/Session");
        let request = Request::new(ReceiverStream::new(messages));
        let inbound = grpc.streaming(request, path, Raw::default()).await?.into_inner();
        Ok(RawSession { out, inbound })
    }

    /// Opens a session: Hello said, Welcome heard.
    pub async fn session(&self) -> RawSession {
        let mut session = self.open(Kind::Hello(hello())).await.expect("the stream opens");
        let welcome = session.next().await.expect("an answer").expect("a message");
        assert!(matches!(welcome.kind, Some(pb::session_response::Kind::Welcome(_))), "{welcome:?}");
        session
    }
}

impl RawSession {
    /// Says something.
    pub async fn say(&self, kind: Kind) {
        self.say_bytes(encoded(kind)).await;
    }

    /// Says these bytes as one message, whatever they mean.
    pub async fn say_bytes(&self, message: Vec<u8>) {
        let _ = self.out.send(message).await;
    }

    /// The next message. `None`: the stream ended in peace.
    ///
    /// # Errors
    /// If the stream was refused.
    pub async fn next(&mut self) -> Result<Option<pb::SessionResponse>, Status> {
        self.inbound.message().await
    }

    /// How the stream ends; what comes before is passed over.
    pub async fn end(&mut self) -> Option<Status> {
        let end = async {
            loop {
                match self.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                }
            }
        };
        tokio::time::timeout(crate::eventually::LONG, end).await.expect("the stream ends")
    }
}

/// A Hello that any control plane accepts.
#[must_use]
pub fn hello() -> pb::Hello {
    pb::Hello {
        instance_id: InstanceId::generate().to_string(),
        ledger_id: LedgerId::generate().to_string(),
        ledger_seq: 1,
        protocol_min: 1,
        protocol_max: 1,
        agent_version: "raw".to_owned(),
        ..Default::default()
    }
}

fn encoded(kind: Kind) -> Vec<u8> {
    pb::SessionRequest { kind: Some(kind) }.encode_to_vec()
}

/// Calls one method of a service with bytes that need not be a message of its.
///
/// # Errors
/// With what the service says.
pub async fn call_with_bytes(channel: Channel, method: &str, message: Vec<u8>) -> Result<(), Status> {
    let path = PathAndQuery::try_from(method).expect("a method's path");
    let mut grpc = client(channel).await?;
    let codec = Raw::<()>::default();
    let stream = tokio_stream::once(message);
    grpc.client_streaming(Request::new(stream), path, codec).await.map(drop)
}

async fn client(channel: Channel) -> Result<tonic::client::Grpc<Channel>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc)
}

/// Sends bytes as they are; reads messages.
struct Raw<T>(std::marker::PhantomData<T>);

impl<T> Default for Raw<T> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: prost::Message + Default + 'static> Codec for Raw<T> {
    type Encode = Vec<u8>;
    type Decode = T;
    type Encoder = AsTheyAre;
    type Decoder = <SmallCodec<(), T> as Codec>::Decoder;

    fn encoder(&mut self) -> AsTheyAre {
        AsTheyAre
    }

    fn decoder(&mut self) -> Self::Decoder {
        SmallCodec::<(), T>::default().decoder()
    }
}

struct AsTheyAre;

impl Encoder for AsTheyAre {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}
