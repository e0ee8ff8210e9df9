//! `NodeService`.

use muster_proto::agent::v1::{self as pb, node_service_server::NodeService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status},
    app::App,
};

/// Hears what nodes say about themselves.
pub struct Handler(pub App);

#[tonic::async_trait]
impl NodeService for Handler {
    async fn rename(
        &self,
        request: Request<pb::RenameRequest>,
    ) -> Result<Response<pb::RenameResponse>, Status> {
        let (actor, (node, caller)) = (caller::actor(&request)?, caller::node(&request)?);
        let name = request.into_inner().display_name;
        let display_name = self.0.rename(&actor, node, caller.serial, name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::RenameResponse { display_name }))
    }
}
