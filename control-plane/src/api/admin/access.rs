//! `AccessService`.

use muster_proto::admin::v1::{self as pb, access_service_server::AccessService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about bindings.
pub struct Handler(pub App);

#[tonic::async_trait]
impl AccessService for Handler {
    async fn create_binding(
        &self,
        request: Request<pb::CreateBindingRequest>,
    ) -> Result<Response<pb::CreateBindingResponse>, Status> {
        let actor = caller::actor(&request)?;
        let wish = wire::access::wish_from(request.into_inner().binding)?;
        let made = self.0.create_binding(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateBindingResponse { binding: Some(wire::access::binding(&made)) }))
    }

    async fn list_bindings(
        &self,
        request: Request<pb::ListBindingsRequest>,
    ) -> Result<Response<pb::ListBindingsResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) = wire::page::page("ListBindings", &[], request.page_size, &request.page_token)?;
        let listed = self.0.bindings(page).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListBindingsResponse {
            bindings: listed.rows.iter().map(wire::access::binding).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn delete_binding(
        &self,
        request: Request<pb::DeleteBindingRequest>,
    ) -> Result<Response<pb::DeleteBindingResponse>, Status> {
        let actor = caller::actor(&request)?;
        self.0.delete_binding(&actor, request.into_inner().name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteBindingResponse {}))
    }

    async fn explain_access(
        &self,
        request: Request<pb::ExplainAccessRequest>,
    ) -> Result<Response<pb::ExplainAccessResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let node = match request.node_id.as_str() {
            "" => None,
            text => Some(wire::id("node_id", text)?),
        };
        let found = self.0.explain_access(&actor, &request.principal, &request.method, node);
        Ok(Response::new(wire::access::explained(&found.map_err(status::of_app)?)))
    }
}
