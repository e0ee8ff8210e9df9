//! `SchedulesService`.

use muster_proto::admin::v1::{self as pb, schedules_service_server::SchedulesService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about schedules.
pub struct Handler(pub App);

#[tonic::async_trait]
impl SchedulesService for Handler {
    async fn create_schedule(
        &self,
        request: Request<pb::CreateScheduleRequest>,
    ) -> Result<Response<pb::CreateScheduleResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::schedule::wish_from(request.schedule)?;
        let made = self.0.create_schedule(&actor, wish, request.validate_only).await;
        let schedule = Some(wire::schedule::schedule(&made.map_err(status::of_app)?));
        Ok(Response::new(pb::CreateScheduleResponse { schedule }))
    }

    async fn get_schedule(
        &self,
        request: Request<pb::GetScheduleRequest>,
    ) -> Result<Response<pb::GetScheduleResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let found = self.0.schedule(&scope, request.name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetScheduleResponse { schedule: Some(wire::schedule::schedule(&found)) }))
    }

    async fn list_schedules(
        &self,
        request: Request<pb::ListSchedulesRequest>,
    ) -> Result<Response<pb::ListSchedulesResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let (page, asked) = wire::page::page("ListSchedules", &[], request.page_size, &request.page_token)?;
        let listed = self.0.schedules(&scope, page).await.map_err(status::of_app)?;
        let shown = listed.rows.iter().map(wire::schedule::schedule);
        let (schedules, next) = wire::page::fitting(shown, listed.next, |schedule| schedule.name.clone());
        let next_page_token = wire::page::next(asked, next.as_deref());
        Ok(Response::new(pb::ListSchedulesResponse { schedules, next_page_token }))
    }

    async fn update_schedule(
        &self,
        request: Request<pb::UpdateScheduleRequest>,
    ) -> Result<Response<pb::UpdateScheduleResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::schedule::wish_from(request.schedule)?;
        let updated = self.0.update_schedule(&actor, wish, request.validate_only).await;
        let schedule = Some(wire::schedule::schedule(&updated.map_err(status::of_app)?));
        Ok(Response::new(pb::UpdateScheduleResponse { schedule }))
    }

    async fn delete_schedule(
        &self,
        request: Request<pb::DeleteScheduleRequest>,
    ) -> Result<Response<pb::DeleteScheduleResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        self.0.delete_schedule(&actor, request.name, request.etag).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteScheduleResponse {}))
    }
}
