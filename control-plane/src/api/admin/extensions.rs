//! `ExtensionsService`.

use muster_proto::admin::v1::{self as pb, extensions_service_server::ExtensionsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about extensions.
pub struct Handler(pub App);

#[tonic::async_trait]
impl ExtensionsService for Handler {
    async fn list_packages(
        &self,
        _: Request<pb::ListPackagesRequest>,
    ) -> Result<Response<pb::ListPackagesResponse>, Status> {
        let found = self.0.packages().await.map_err(status::of_app)?;
        let packages = found.iter().map(wire::extension::package).collect();
        Ok(Response::new(pb::ListPackagesResponse { packages }))
    }

    async fn create_extension(
        &self,
        request: Request<pb::CreateExtensionRequest>,
    ) -> Result<Response<pb::CreateExtensionResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let validate_only = request.validate_only;
        let draft = wire::extension::draft_from(request)?;
        let made = self.0.create_extension(&actor, draft, validate_only).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateExtensionResponse { extension: Some(wire::extension::extension(&made)) }))
    }

    async fn get_extension(
        &self,
        request: Request<pb::GetExtensionRequest>,
    ) -> Result<Response<pb::GetExtensionResponse>, Status> {
        let request = request.into_inner();
        let (row, payload) = self.0.extension(request.name, request.version).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetExtensionResponse { extension: Some(wire::extension::whole(&row, payload)) }))
    }

    async fn list_extensions(
        &self,
        request: Request<pb::ListExtensionsRequest>,
    ) -> Result<Response<pb::ListExtensionsResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) =
            wire::page::page("ListExtensions", &[&request.name], request.page_size, &request.page_token)?;
        let name = (!request.name.is_empty()).then_some(request.name);
        let listed = self.0.extensions(page, name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListExtensionsResponse {
            extensions: listed.rows.iter().map(wire::extension::extension).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn delete_extension(
        &self,
        request: Request<pb::DeleteExtensionRequest>,
    ) -> Result<Response<pb::DeleteExtensionResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        self.0.delete_extension(&actor, request.name, request.version).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteExtensionResponse {}))
    }
}
