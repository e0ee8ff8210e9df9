//! `EnrollmentService`.

use std::sync::Arc;

use muster_common::reason::Reason;
use muster_proto::agent::v1::{self as pb, enrollment_service_server::EnrollmentService};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::{App, enrollment, recovery},
};

/// Answers hosts without an identity.
pub struct Handler {
    app: App,
    permits: Arc<Semaphore>,
}

impl Handler {
    /// With its own bound: a crowd of strangers must not starve the nodes.
    #[must_use]
    pub fn new(app: App, at_once: usize) -> Self {
        Self { app, permits: Arc::new(Semaphore::new(at_once.max(1))) }
    }

    fn permit(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.permits.try_acquire().map_err(|_| {
            self.app.metrics.limit_met("enrollment", "enrollments-at-once");
            status::status(Reason::Overloaded, "too many hosts come at once; try again")
        })
    }
}

#[tonic::async_trait]
impl EnrollmentService for Handler {
    async fn enroll(
        &self,
        request: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollResponse>, Status> {
        let _permit = self.permit()?;
        let (remote, trace_id) = (caller::peer(&request)?.remote.ip(), caller::trace_id(&request));
        let request = request.into_inner();
        let shown = request.host_certificate.as_ref().map(wire::identity::shown);
        let wanted = enrollment::Request {
            proof: enrollment::Proof::of(request.token, request.oidc_token, shown).map_err(status::of_app)?,
            csr_der: request.csr_der.to_vec(),
            display_name: request.display_name,
            hostname: request.hostname,
            machine_fingerprint: request.machine_fingerprint.to_vec(),
            requested_labels: request.requested_labels.into_iter().collect(),
            remote,
            trace_id,
        };
        let grant = self.app.enroll(wanted).await.map_err(status::of_app)?;
        Ok(Response::new(wire::identity::enrolled(&self.app, grant)))
    }

    async fn begin_enrollment(
        &self,
        _: Request<pb::BeginEnrollmentRequest>,
    ) -> Result<Response<pb::BeginEnrollmentResponse>, Status> {
        let challenge = self.app.begin_enrollment().map_err(status::of_app)?;
        let server_time_ms = self.app.clock.now().0;
        let device_logins = wire::identity::device_logins(&self.app);
        Ok(Response::new(pb::BeginEnrollmentResponse {
            challenge: challenge.into(),
            server_time_ms,
            device_logins,
        }))
    }

    async fn begin_recovery(
        &self,
        request: Request<pb::BeginRecoveryRequest>,
    ) -> Result<Response<pb::BeginRecoveryResponse>, Status> {
        let node = wire::id("node_id", &request.get_ref().node_id)?;
        let challenge = self.app.begin_recovery(node).map_err(status::of_app)?;
        Ok(Response::new(pb::BeginRecoveryResponse { challenge: challenge.into() }))
    }

    async fn recover(
        &self,
        request: Request<pb::RecoverRequest>,
    ) -> Result<Response<pb::RecoverResponse>, Status> {
        let _permit = self.permit()?;
        let (remote, trace_id) = (caller::peer(&request)?.remote.ip(), caller::trace_id(&request));
        let request = request.into_inner();
        let wanted = recovery::Request {
            node: wire::id("node_id", &request.node_id)?,
            challenge: request.challenge.to_vec(),
            csr_der: request.csr_der.to_vec(),
            signature: request.signature.to_vec(),
            machine_fingerprint: request.machine_fingerprint.to_vec(),
            instance: request.instance_id.parse().ok(),
            remote,
            trace_id,
        };
        let renewed = self.app.recover(wanted).await.map_err(status::of_app)?;
        Ok(Response::new(wire::identity::recovered(&self.app, renewed)))
    }
}
