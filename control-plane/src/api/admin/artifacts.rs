//! `ArtifactsService`.

use muster_proto::admin::v1::{self as pb, artifacts_service_server::ArtifactsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about the signed repository.
pub struct Handler(pub App);

#[tonic::async_trait]
impl ArtifactsService for Handler {
    async fn publish_repository(
        &self,
        request: Request<pb::PublishRepositoryRequest>,
    ) -> Result<Response<pb::PublishRepositoryResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let files = wire::artifact::files_from(request.metadata)?;
        let published = self.0.publish_repository(&actor, files, request.validate_only).await;
        let repository = wire::artifact::repository(&published.map_err(status::of_app)?, self.0.clock.now());
        Ok(Response::new(pb::PublishRepositoryResponse { repository: Some(repository) }))
    }

    async fn get_repository(
        &self,
        _: Request<pb::GetRepositoryRequest>,
    ) -> Result<Response<pb::GetRepositoryResponse>, Status> {
        let found = self.0.repository().await.map_err(status::of_app)?;
        let repository = wire::artifact::repository(&found, self.0.clock.now());
        Ok(Response::new(pb::GetRepositoryResponse { repository: Some(repository) }))
    }

    async fn list_targets(
        &self,
        request: Request<pb::ListTargetsRequest>,
    ) -> Result<Response<pb::ListTargetsResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) = wire::page::page("ListTargets", &[], request.page_size, &request.page_token)?;
        let listed = self.0.targets(page).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListTargetsResponse {
            targets: listed.rows.iter().map(wire::artifact::target).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }
}
