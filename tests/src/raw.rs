//! A node that says what it wants: for what no agent of ours would say.

use std::sync::Arc;

use muster_common::{
    ids::{InstanceId, LedgerId},
    join::JoinString,
};
use muster_node_agent::{
    dial,
    identity::{Identity, Store, Wish, enroll},
};
use muster_proto::agent::v1::{
    self as pb, session_request::Kind, session_service_client::SessionServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

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
    out: mpsc::Sender<pb::SessionRequest>,
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
        };
        let identity = enroll(&Store::new(folder.path()), join, &wish).await.expect("it enrolls");
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
        let _ = out.send(pb::SessionRequest { kind: Some(first) }).await;
        let inbound =
            SessionServiceClient::new(channel).session(ReceiverStream::new(messages)).await?.into_inner();
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
        let _ = self.out.send(pb::SessionRequest { kind: Some(kind) }).await;
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

impl RawSession {
    /// Says something of a kind that nobody knows yet.
    pub async fn say_nothing_known(&self) {
        let _ = self.out.send(pb::SessionRequest { kind: None }).await;
    }
}
