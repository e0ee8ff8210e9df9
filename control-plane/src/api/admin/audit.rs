//! `AuditService`.

mod export;
mod watch;

use muster_domain::audit::Filter;
use muster_proto::admin::v1::{self as pb, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, watch::Watch, wire},
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
        let (size, token) = (request.page_size, request.page_token.clone());
        let filter = wire::audit::filter_of_list(request);
        let parts = filter.parts();
        let asked = parts.each_ref().map(String::as_str);
        let (page, asked) = wire::page::page("ListAuditEntries", &asked, size, &token)?;
        let listed = self.0.audit_entries(page, filter).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListAuditEntriesResponse {
            entries: listed.rows.iter().map(wire::audit::entry).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn list_checkpoints(
        &self,
        request: Request<pb::ListCheckpointsRequest>,
    ) -> Result<Response<pb::ListCheckpointsResponse>, Status> {
        let request = request.into_inner();
        let asked = [request.replica.as_str()];
        let (page, asked) =
            wire::page::page("ListCheckpoints", &asked, request.page_size, &request.page_token)?;
        let replica = (!request.replica.is_empty()).then_some(request.replica);
        let listed = self.0.audit_checkpoints(page, replica).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListCheckpointsResponse {
            checkpoints: listed.rows.into_iter().map(wire::audit::checkpoint).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    type WatchAuditEntriesStream = Watch<pb::WatchAuditEntriesResponse>;

    async fn watch_audit_entries(
        &self,
        request: Request<pb::WatchAuditEntriesRequest>,
    ) -> Result<Response<Self::WatchAuditEntriesStream>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let token = request.resume_token.clone();
        let filter: Filter = wire::audit::filter_of_watch(request);
        let from = match token.as_str() {
            "" => self.0.audit_start(&filter).await,
            token => self.0.audit_resume(&filter, token).await,
        };
        let from = from.map_err(status::of_app)?;
        Ok(Response::new(watch::start(&self.0, scope, filter, from)))
    }

    type ExportAuditEntriesStream = Watch<pb::ExportAuditEntriesResponse>;

    async fn export_audit_entries(
        &self,
        request: Request<pb::ExportAuditEntriesRequest>,
    ) -> Result<Response<Self::ExportAuditEntriesStream>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let since = request.since.as_ref().map(wire::timestamp_from);
        let until = request.until.as_ref().map(wire::timestamp_from);
        let range = self.0.audit_range(since, until).await.map_err(status::of_app)?;
        let range = range.within(request.from_place, request.to_place);
        Ok(Response::new(export::start(&self.0, scope, range)))
    }
}
