//! `ConcurrencyLeasesService`.

use muster_proto::admin::v1::{self as pb, concurrency_leases_service_server::ConcurrencyLeasesService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about concurrency leases.
pub struct Handler(pub App);

#[tonic::async_trait]
impl ConcurrencyLeasesService for Handler {
    async fn create_concurrency_lease(
        &self,
        request: Request<pb::CreateConcurrencyLeaseRequest>,
    ) -> Result<Response<pb::CreateConcurrencyLeaseResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::lease::wish_from(request.lease)?;
        let made = self.0.create_lease(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateConcurrencyLeaseResponse { lease: Some(wire::lease::lease(&made)) }))
    }

    async fn get_concurrency_lease(
        &self,
        request: Request<pb::GetConcurrencyLeaseRequest>,
    ) -> Result<Response<pb::GetConcurrencyLeaseResponse>, Status> {
        let found = self.0.lease(request.into_inner().name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetConcurrencyLeaseResponse { lease: Some(wire::lease::lease(&found)) }))
    }

    async fn list_concurrency_leases(
        &self,
        request: Request<pb::ListConcurrencyLeasesRequest>,
    ) -> Result<Response<pb::ListConcurrencyLeasesResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) =
            wire::page::page("ListConcurrencyLeases", &[], request.page_size, &request.page_token)?;
        let listed = self.0.leases(page).await.map_err(status::of_app)?;
        let shown = listed.rows.iter().map(wire::lease::lease);
        let (leases, next) = wire::page::fitting(shown, listed.next, |lease| lease.name.clone());
        let next_page_token = wire::page::next(asked, next.as_deref());
        Ok(Response::new(pb::ListConcurrencyLeasesResponse { leases, next_page_token }))
    }

    async fn update_concurrency_lease(
        &self,
        request: Request<pb::UpdateConcurrencyLeaseRequest>,
    ) -> Result<Response<pb::UpdateConcurrencyLeaseResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::lease::wish_from(request.lease)?;
        let updated = self.0.update_lease(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::UpdateConcurrencyLeaseResponse { lease: Some(wire::lease::lease(&updated)) }))
    }

    async fn delete_concurrency_lease(
        &self,
        request: Request<pb::DeleteConcurrencyLeaseRequest>,
    ) -> Result<Response<pb::DeleteConcurrencyLeaseResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        self.0.delete_lease(&actor, request.name, request.etag).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteConcurrencyLeaseResponse {}))
    }
}
