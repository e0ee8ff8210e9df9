//! `BlobService`.

use muster_proto::agent::v1::{self as pb, blob_service_server::BlobService};
use tonic::{Request, Response, Status};

use crate::{
    api::{
        caller,
        download::{self, Download},
        status, wire,
    },
    app::App,
};

/// Gives nodes what their desired state refers to.
pub struct Handler(pub App);

#[tonic::async_trait]
impl BlobService for Handler {
    type DownloadBlobStream = Download<pb::DownloadBlobResponse>;

    async fn download_blob(
        &self,
        request: Request<pb::DownloadBlobRequest>,
    ) -> Result<Response<Self::DownloadBlobStream>, Status> {
        let (node, _) = caller::node(&request)?;
        let request = request.into_inner();
        let sha256 = wire::blob::sha256_from("sha256", &request.sha256)?;
        let reader = self.0.read_blob_for(node, sha256, request.offset).await.map_err(status::of_app)?;
        let message = |chunk| pb::DownloadBlobResponse { chunk };
        let may = move |app: &App| app.check_fetch(node, &sha256);
        Ok(Response::new(download::stream(&self.0, reader, may, message)))
    }
}
