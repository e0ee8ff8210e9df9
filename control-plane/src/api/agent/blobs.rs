//! `BlobService`.

use muster_proto::agent::v1::{self as pb, blob_service_server::BlobService};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    api::{
        caller,
        download::{self, Download},
        status, upload, wire,
    },
    app::{App, blobs::Taking},
};

/// Gives nodes what their desired state refers to, and takes what commands bring.
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

    async fn upload_result(
        &self,
        request: Request<Streaming<pb::UploadResultRequest>>,
    ) -> Result<Response<pb::UploadResultResponse>, Status> {
        let (actor, (node, _)) = (caller::actor(&request)?, caller::node(&request)?);
        let mut parts = request.into_inner();
        let start = upload::start(&self.0, &mut parts).await?;
        let (told, most) = (wire::blob::told_from(&start)?, wire::command::most_bytes);
        let begun = self.0.begin_result(&actor, node, told, most).await.map_err(status::of_app)?;
        if let Taking::Go(mut receiving) = begun {
            let may = || {
                let app = self.0.clone();
                async move { app.check_result(node, told.command, most).await }
            };
            upload::receive(&self.0, &mut receiving, &mut parts, may).await?;
            let finished = self.0.finish_result(&actor, node, told.command, *receiving, most).await;
            finished.map_err(status::of_app)?;
        }
        Ok(Response::new(pb::UploadResultResponse {}))
    }
}
