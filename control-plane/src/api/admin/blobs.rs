//! `BlobsService`.

use muster_proto::admin::v1::{self as pb, blobs_service_server::BlobsService};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    api::{
        caller,
        download::{self, Download},
        status, upload, wire,
    },
    app::{App, blobs::Begun},
};

/// Answers about blobs.
pub struct Handler(pub App);

#[tonic::async_trait]
impl BlobsService for Handler {
    type DownloadBlobStream = Download<pb::DownloadBlobResponse>;

    async fn upload_blob(
        &self,
        request: Request<Streaming<pb::UploadBlobRequest>>,
    ) -> Result<Response<pb::UploadBlobResponse>, Status> {
        let actor = caller::actor(&request)?;
        let mut parts = request.into_inner();
        let start = upload::start(&self.0, &mut parts).await?;
        let wish = wire::blob::wish_from(&start)?;
        let blob = match self.0.begin_upload(&actor, wish).await.map_err(status::of_app)? {
            Begun::There(blob) => blob,
            Begun::Go(mut receiving) => {
                upload::receive(&self.0, &mut receiving, &mut parts, || std::future::ready(Ok(()))).await?;
                self.0.finish_upload(&actor, *receiving).await.map_err(status::of_app)?
            }
        };
        Ok(Response::new(pb::UploadBlobResponse { blob: Some(wire::blob::blob(&blob)) }))
    }

    async fn get_upload(
        &self,
        request: Request<pb::GetUploadRequest>,
    ) -> Result<Response<pb::GetUploadResponse>, Status> {
        let actor = caller::actor(&request)?;
        let which = wire::blob::which_from(request.get_ref())?;
        let (upload, received) = self.0.upload(&actor, which).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetUploadResponse { upload: Some(wire::blob::upload(&upload, received)) }))
    }

    async fn download_blob(
        &self,
        request: Request<pb::DownloadBlobRequest>,
    ) -> Result<Response<Self::DownloadBlobStream>, Status> {
        let request = request.into_inner();
        let sha256 = wire::blob::sha256_from("sha256", &request.sha256)?;
        let reader = self.0.read_blob(sha256, request.offset).await.map_err(status::of_app)?;
        let message = |chunk| pb::DownloadBlobResponse { chunk };
        Ok(Response::new(download::stream(&self.0, reader, |_| Ok(()), message)))
    }

    async fn get_blob(
        &self,
        request: Request<pb::GetBlobRequest>,
    ) -> Result<Response<pb::GetBlobResponse>, Status> {
        let sha256 = wire::blob::sha256_from("sha256", &request.get_ref().sha256)?;
        let (blob, referrers) = self.0.blob(sha256).await.map_err(status::of_app)?;
        let blob = pb::Blob { referrers, ..wire::blob::blob(&blob) };
        Ok(Response::new(pb::GetBlobResponse { blob: Some(blob) }))
    }

    async fn list_blobs(
        &self,
        request: Request<pb::ListBlobsRequest>,
    ) -> Result<Response<pb::ListBlobsResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) = wire::page::page("ListBlobs", &[], request.page_size, &request.page_token)?;
        let listed = self.0.blobs(page).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListBlobsResponse {
            blobs: listed.rows.iter().map(wire::blob::blob).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn delete_blob(
        &self,
        request: Request<pb::DeleteBlobRequest>,
    ) -> Result<Response<pb::DeleteBlobResponse>, Status> {
        let actor = caller::actor(&request)?;
        let sha256 = wire::blob::sha256_from("sha256", &request.get_ref().sha256)?;
        self.0.delete_blob(&actor, sha256).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteBlobResponse {}))
    }
}
