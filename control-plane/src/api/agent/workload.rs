//! `WorkloadIdentityService`.

use muster_proto::agent::v1::{self as pb, workload_identity_service_server::WorkloadIdentityService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::{App, speaker::By},
};

/// Gives nodes identities for their programs.
pub struct Handler(pub App);

fn by(instance_id: &str, serial: String) -> By {
    By { instance: instance_id.parse().ok(), serial }
}

#[tonic::async_trait]
impl WorkloadIdentityService for Handler {
    async fn issue_x509_svids(
        &self,
        request: Request<pb::IssueX509SvidsRequest>,
    ) -> Result<Response<pb::IssueX509SvidsResponse>, Status> {
        let (actor, (node, caller)) = (caller::actor(&request)?, caller::node(&request)?);
        let request = request.into_inner();
        let by = by(&request.instance_id, caller.serial);
        let orders = request.orders.into_iter().map(wire::workload::x509_order).collect();
        let issued = self.0.issue_x509(&actor, node, &by, orders).await.map_err(status::of_app)?;
        let bundle = self.0.workload_bundle(node, &by).map_err(status::of_app)?;
        Ok(Response::new(pb::IssueX509SvidsResponse {
            svids: issued.into_iter().map(wire::workload::x509_svid).collect(),
            bundles: Some(wire::workload::bundles(&self.0, &bundle)),
        }))
    }

    async fn issue_jwt_svids(
        &self,
        request: Request<pb::IssueJwtSvidsRequest>,
    ) -> Result<Response<pb::IssueJwtSvidsResponse>, Status> {
        let (actor, (node, caller)) = (caller::actor(&request)?, caller::node(&request)?);
        let request = request.into_inner();
        let by = by(&request.instance_id, caller.serial);
        let orders = request.orders.into_iter().map(wire::workload::jwt_order).collect();
        let tokens = self.0.issue_jwt(&actor, node, &by, orders).await.map_err(status::of_app)?;
        let svids = tokens.into_iter().map(wire::workload::jwt_svid).collect();
        Ok(Response::new(pb::IssueJwtSvidsResponse { svids }))
    }

    async fn get_workload_bundles(
        &self,
        request: Request<pb::GetWorkloadBundlesRequest>,
    ) -> Result<Response<pb::GetWorkloadBundlesResponse>, Status> {
        let (node, caller) = caller::node(&request)?;
        let by = by(&request.get_ref().instance_id, caller.serial);
        let bundle = self.0.workload_bundle(node, &by).map_err(status::of_app)?;
        let bundles = Some(wire::workload::bundles(&self.0, &bundle));
        Ok(Response::new(pb::GetWorkloadBundlesResponse { bundles }))
    }
}
