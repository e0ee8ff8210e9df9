//! `EnrollmentService`.

use std::sync::Arc;

use muster_common::reason::Reason;
use muster_proto::agent::v1::{self as pb, enrollment_service_server::EnrollmentService};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::{App, enrollment},
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
}

#[tonic::async_trait]
impl EnrollmentService for Handler {
    async fn enroll(
        &self,
        request: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollResponse>, Status> {
        let Ok(_permit) = self.permits.try_acquire() else {
            self.app.metrics.limit_met("enrollment", "enrollments-at-once");
            return Err(status::status(Reason::Overloaded, "too many hosts enroll at once; try again"));
        };
        let (remote, trace_id) = (caller::peer(&request)?.remote.ip(), caller::trace_id(&request));
        let request = request.into_inner();
        let wanted = enrollment::Request {
            secret: request.token,
            csr_der: request.csr_der.to_vec(),
            display_name: request.display_name,
            hostname: request.hostname,
            machine_fingerprint: request.machine_fingerprint.to_vec(),
            remote,
            trace_id,
        };
        let grant = self.app.enroll(wanted).await.map_err(status::of_app)?;
        Ok(Response::new(wire::identity::enrolled(&self.app, grant)))
    }
}
