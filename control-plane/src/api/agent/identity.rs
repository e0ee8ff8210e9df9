//! `IdentityService`.

use muster_proto::agent::v1::{self as pb, identity_service_server::IdentityService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::{App, speaker::By},
};

/// Answers nodes about their identity.
pub struct Handler(pub App);

#[tonic::async_trait]
impl IdentityService for Handler {
    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let (actor, (node, caller)) = (caller::actor(&request)?, caller::node(&request)?);
        let request = request.into_inner();
        // Older agents do not say it; they are taken for another process than the one that was kept.
        let by = By { instance: request.instance_id.parse().ok(), serial: caller.serial };
        let renewed = self.0.renew(&actor, node, &by, &request.csr_der).await.map_err(status::of_app)?;
        Ok(Response::new(wire::identity::renewed(&self.0, renewed)))
    }

    async fn leave(&self, request: Request<pb::LeaveRequest>) -> Result<Response<pb::LeaveResponse>, Status> {
        let (actor, (node, caller)) = (caller::actor(&request)?, caller::node(&request)?);
        let reason = request.into_inner().reason;
        self.0.leave(&actor, node, caller.serial, reason).await.map_err(status::of_app)?;
        Ok(Response::new(pb::LeaveResponse {}))
    }
}
