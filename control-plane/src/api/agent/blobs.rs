//! `BlobService`.

use muster_proto::agent::v1::{self as pb, blob_service_server::BlobService, upload_result_request::Part};
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
        blobs::{Receiving, Taking},
    },
};

/// Gives nodes what their desired state refers to, and takes what commands bring.
pub struct Handler(pub App);

impl Handler {
    /// The next part of a file. `None`: the node has said all.
    async fn next(&self, parts: &mut Streaming<pb::UploadResultRequest>) -> Result<Option<Part>, Status> {
        match upload::next(&self.0, parts).await?.map(|message| message.part) {
            Some(None) => Err(invalid("part", "it is missing")),
            part => Ok(part.flatten()),
        }
    }

    async fn receive(
        &self,
        receiving: &mut Receiving,
        parts: &mut Streaming<pb::UploadResultRequest>,
    ) -> Result<(), Status> {
        while let Some(part) = self.next(parts).await? {
            let Part::Chunk(chunk) = part else { return Err(invalid("start", "it comes first, and once")) };
            receiving.write(&wire::blob::chunk_from(chunk)?).await.map_err(status::of_app)?;
        }
        Ok(())
    }
}

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
        let Some(Part::Start(start)) = self.next(&mut parts).await? else {
            return Err(invalid("start", "it comes first"));
        };
        let (told, most) = (wire::blob::told_from(&start)?, wire::command::most_bytes);
        let begun = self.0.begin_result(&actor, node, told, most).await.map_err(status::of_app)?;
        if let Taking::Go(mut receiving) = begun {
            self.receive(&mut receiving, &mut parts).await?;
            let finished = self.0.finish_result(&actor, node, told.command, *receiving, most).await;
            finished.map_err(status::of_app)?;
        }
        Ok(Response::new(pb::UploadResultResponse {}))
    }
}
