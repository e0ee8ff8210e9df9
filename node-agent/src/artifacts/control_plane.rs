//! The control plane as a source: by connections of their own, so that a file never stands
//! before the messages of the session.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use muster_common::{error_chain::Chain, settings::Service};
use muster_proto::agent::v1::{self as pb, artifact_service_client::ArtifactServiceClient};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Status, Streaming};

use super::fault::{Fault, Piece, Pieces};
use crate::{
    dial::{Dialer, Refusal},
    identity::{self, Identity},
};

/// For the begin of an answer.
const WITHIN: Duration = Duration::from_secs(30);

/// Opens connections with the identity of now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    identity: watch::Receiver<Identity>,
    dialer: Dialer,
}

impl ControlPlane {
    /// With the newest identity at each opening, by the way of then.
    #[must_use]
    pub const fn new(identity: watch::Receiver<Identity>, dialer: Dialer) -> Self {
        Self { identity, dialer }
    }

    pub(super) async fn open(&self, path: &str, offset: u64) -> Result<Pieces, Fault> {
        let identity = self.identity.borrow().clone();
        let unreachable = |error: identity::Error| Fault::Network(Chain(&error).to_string());
        let channel =
            identity::connect(&identity, Service::Artifacts, &self.dialer).await.map_err(unreachable)?;
        let request = pb::DownloadArtifactRequest { path: path.to_owned(), offset };
        let mut client = ArtifactServiceClient::new(channel);
        let answer = timeout(WITHIN, client.download_artifact(request)).await;
        let answer = answer.map_err(|_| Fault::Network("no answer came in time".to_owned()))?;
        let stream = answer.map_err(|status| told(&status))?.into_inner();
        Ok(stream::unfold(Some(stream), next).boxed())
    }
}

/// The next bytes. The first message has none, but the size, which others have signed.
async fn next(
    stream: Option<Streaming<pb::DownloadArtifactResponse>>,
) -> Option<(Result<Piece, Fault>, Option<Streaming<pb::DownloadArtifactResponse>>)> {
    let mut stream = stream?;
    match stream.message().await {
        Ok(message) => Some((Ok(message?.chunk.into()), Some(stream))),
        Err(status) => Some((Err(told(&status)), None)),
    }
}

/// A no has a reason of ours; all else is the way there.
fn told(status: &Status) -> Fault {
    let refusal = Refusal::from(status);
    match (status.code(), refusal.reason) {
        (Code::NotFound, _) => Fault::Missing,
        (Code::Unavailable | Code::ResourceExhausted, _) | (_, None) => Fault::Network(refusal.to_string()),
        (_, Some(reason)) => Fault::Refused(reason, refusal.message),
    }
}
