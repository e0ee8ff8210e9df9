//! `AuditService`.

use muster_proto::admin::v1::{self as pb, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use crate::{
    api::{status, wire},
    app::App,
};

/// Answers about the audit.
pub struct Handler(pub App);

#[tonic::async_trait]
impl AuditService for Handler {
    async fn list_audit_entries(
        &self,
        request: Request<pb::ListAuditEntriesRequest>,
    ) -> Result<Response<pb::ListAuditEntriesResponse>, Status> {
        let request = request.into_inner();
        let asked = [request.subject.as_str(), request.actor.as_str()];
        let (page, asked) =
            wire::page::page("ListAuditEntries", &asked, request.page_size, &request.page_token)?;
        let given = |text: String| (!text.is_empty()).then_some(text);
        let listed = self.0.audit_entries(page, given(request.subject), given(request.actor)).await;
        let listed = listed.map_err(status::of_app)?;
        Ok(Response::new(pb::ListAuditEntriesResponse {
            entries: listed.rows.iter().map(wire::audit::entry).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }
}
