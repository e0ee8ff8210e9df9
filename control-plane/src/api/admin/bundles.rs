//! `BundlesService`.

use muster_proto::admin::v1::{self as pb, bundles_service_server::BundlesService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about bundles.
pub struct Handler(pub App);

#[tonic::async_trait]
impl BundlesService for Handler {
    async fn create_bundle(
        &self,
        request: Request<pb::CreateBundleRequest>,
    ) -> Result<Response<pb::CreateBundleResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let draft = wire::bundle::draft_from(request.content)?;
        let made = self.0.create_bundle(&actor, request.name, draft, request.validate_only).await;
        let bundle = made.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateBundleResponse { bundle: Some(wire::bundle::bundle(&bundle)) }))
    }

    async fn get_bundle(
        &self,
        request: Request<pb::GetBundleRequest>,
    ) -> Result<Response<pb::GetBundleResponse>, Status> {
        let request = request.into_inner();
        let (bundle, payload) = self.0.bundle(request.name, request.version).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetBundleResponse { bundle: Some(wire::bundle::whole(&bundle, payload)) }))
    }

    async fn list_bundles(
        &self,
        request: Request<pb::ListBundlesRequest>,
    ) -> Result<Response<pb::ListBundlesResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) =
            wire::page::page("ListBundles", &[&request.name], request.page_size, &request.page_token)?;
        let name = (!request.name.is_empty()).then_some(request.name);
        let listed = self.0.bundles(page, name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListBundlesResponse {
            bundles: listed.rows.iter().map(wire::bundle::bundle).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn delete_bundle(
        &self,
        request: Request<pb::DeleteBundleRequest>,
    ) -> Result<Response<pb::DeleteBundleResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        self.0.delete_bundle(&actor, request.name, request.version).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteBundleResponse {}))
    }
}
