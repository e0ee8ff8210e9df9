//! `WorkloadsService`.

use muster_proto::admin::v1::{self as pb, workloads_service_server::WorkloadsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about issuers of programs' identities.
pub struct Handler(pub App);

#[tonic::async_trait]
impl WorkloadsService for Handler {
    async fn get_workload_issuers(
        &self,
        _: Request<pb::GetWorkloadIssuersRequest>,
    ) -> Result<Response<pb::GetWorkloadIssuersResponse>, Status> {
        Ok(Response::new(pb::GetWorkloadIssuersResponse {
            issuers: wire::workload::issuers(&self.0),
            jwks_json: self.0.workloads.bundle().jwks.clone(),
            trust_domain: self.0.fixed.trust_domain.to_string(),
        }))
    }

    async fn rotate_workload_issuer(
        &self,
        request: Request<pb::RotateWorkloadIssuerRequest>,
    ) -> Result<Response<pb::RotateWorkloadIssuerResponse>, Status> {
        let actor = caller::actor(&request)?;
        self.0.rotate_workloads(&actor, request.get_ref().at_once).await.map_err(status::of_app)?;
        let issuers = wire::workload::issuers(&self.0);
        Ok(Response::new(pb::RotateWorkloadIssuerResponse { issuers }))
    }
}
