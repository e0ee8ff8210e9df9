//! `ArtifactService`.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use muster_proto::agent::v1::{self as pb, artifact_service_server::ArtifactService};
use tonic::{Request, Response, Status};

use crate::{
    api::{
        caller,
        download::{self, Download},
        status,
    },
    app::{App, artifacts::Source},
    blobs::PIECE,
};

/// Gives nodes the signed repository.
pub struct Handler(pub App);

#[tonic::async_trait]
impl ArtifactService for Handler {
    type DownloadArtifactStream = Download<pb::DownloadArtifactResponse>;

    async fn download_artifact(
        &self,
        request: Request<pb::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let (node, _) = caller::node(&request)?;
        let request = request.into_inner();
        let given = self.0.artifact(node, request.path, request.offset).await.map_err(status::of_app)?;
        let head = pb::DownloadArtifactResponse { size_bytes: given.size_bytes, chunk: Bytes::new() };
        let chunk = |chunk| pb::DownloadArtifactResponse { size_bytes: 0, chunk };
        let rest = match given.source {
            Source::Whole(bytes) => stream::iter(pieces(bytes).map(move |it| Ok(chunk(it)))).boxed(),
            Source::Blob(reader) => {
                download::stream(&self.0, reader, move |app| app.check_artifacts(node), chunk)
            }
        };
        Ok(Response::new(stream::iter([Ok(head)]).chain(rest).boxed()))
    }
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> + Send {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        (!piece.is_empty()).then_some(piece)
    })
}
