//! `BlobsService`.

use muster_proto::admin::v1::{self as pb, blobs_service_server::BlobsService, upload_blob_request::Part};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    api::{
        caller,
        download::{self, Download},
        status::{self, invalid},
        upload, wire,
    },
    app::{
        App,
        blobs::{Begun, Receiving},
    },
};

/// Answers about blobs.
pub struct Handler(pub App);

impl Handler {
    /// The next part of an upload. `None`: the caller has said all.
    async fn next(&self, parts: &mut Streaming<pb::UploadBlobRequest>) -> Result<Option<Part>, Status> {
        match upload::next(&self.0, parts).await?.map(|message| message.part) {
            Some(None) => Err(invalid("part", "it is missing")),
            part => Ok(part.flatten()),
        }
    }

    async fn receive(
        &self,
        receiving: &mut Receiving,
        parts: &mut Streaming<pb::UploadBlobRequest>,
    ) -> Result<(), Status> {
        while let Some(part) = self.next(parts).await? {
            let Part::Chunk(chunk) = part else { return Err(invalid("start", "it comes first, and once")) };
            receiving.write(&wire::blob::chunk_from(chunk)?).await.map_err(status::of_app)?;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl BlobsService for Handler {
    type DownloadBlobStream = Download<pb::DownloadBlobResponse>;

    async fn upload_blob(
        &self,
        request: Request<Streaming<pb::UploadBlobRequest>>,
    ) -> Result<Response<pb::UploadBlobResponse>, Status> {
        let actor = caller::actor(&request)?;
        let mut parts = request.into_inner();
        let Some(Part::Start(start)) = self.next(&mut parts).await? else {
            return Err(invalid("start", "it comes first"));
        };
        let wish = wire::blob::wish_from(&start)?;
        let blob = match self.0.begin_upload(&actor, wish).await.map_err(status::of_app)? {
            Begun::There(blob) => blob,
            Begun::Go(mut receiving) => {
                self.receive(&mut receiving, &mut parts).await?;
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
