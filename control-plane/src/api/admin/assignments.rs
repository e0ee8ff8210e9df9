//! `AssignmentsService`.

use muster_domain::assignment::Assignment;
use muster_proto::admin::v1::{self as pb, assignments_service_server::AssignmentsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::{Actor, App},
};

/// Answers about assignments.
pub struct Handler(pub App);

impl Handler {
    async fn made(&self, actor: &Actor, assignment: &Assignment) -> Option<pb::Assignment> {
        let reach = self.0.reach(&actor.scope, std::slice::from_ref(assignment)).await.pop()?;
        Some(wire::assignment::assignment(assignment, reach))
    }
}

#[tonic::async_trait]
impl AssignmentsService for Handler {
    async fn create_assignment(
        &self,
        request: Request<pb::CreateAssignmentRequest>,
    ) -> Result<Response<pb::CreateAssignmentResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let wish = wire::assignment::wish_from(request.assignment)?;
        let made =
            self.0.create_assignment(&actor, wish, request.validate_only).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateAssignmentResponse { assignment: self.made(&actor, &made).await }))
    }

    async fn get_assignment(
        &self,
        request: Request<pb::GetAssignmentRequest>,
    ) -> Result<Response<pb::GetAssignmentResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let (found, reach) = self.0.assignment(&scope, request.name).await.map_err(status::of_app)?;
        let assignment = Some(wire::assignment::assignment(&found, reach));
        Ok(Response::new(pb::GetAssignmentResponse { assignment }))
    }

    async fn list_assignments(
        &self,
        request: Request<pb::ListAssignmentsRequest>,
    ) -> Result<Response<pb::ListAssignmentsResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let (page, asked) = wire::page::page("ListAssignments", &[], request.page_size, &request.page_token)?;
        let listed = self.0.assignments(&scope, page).await.map_err(status::of_app)?;
        let shown = listed.rows.iter().map(|(found, reach)| wire::assignment::assignment(found, *reach));
        let (assignments, next) = wire::page::fitting(shown, listed.next, |it| it.name.clone());
        let next_page_token = wire::page::next(asked, next.as_deref());
        Ok(Response::new(pb::ListAssignmentsResponse { assignments, next_page_token }))
    }

    async fn update_assignment(
        &self,
        request: Request<pb::UpdateAssignmentRequest>,
    ) -> Result<Response<pb::UpdateAssignmentResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let wish = wire::assignment::wish_from(request.assignment)?;
        let made =
            self.0.update_assignment(&actor, wish, request.validate_only).await.map_err(status::of_app)?;
        Ok(Response::new(pb::UpdateAssignmentResponse { assignment: self.made(&actor, &made).await }))
    }

    async fn delete_assignment(
        &self,
        request: Request<pb::DeleteAssignmentRequest>,
    ) -> Result<Response<pb::DeleteAssignmentResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        self.0.delete_assignment(&actor, request.name, request.etag).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteAssignmentResponse {}))
    }

    async fn preview_assignment(
        &self,
        request: Request<pb::PreviewAssignmentRequest>,
    ) -> Result<Response<pb::PreviewAssignmentResponse>, Status> {
        use pb::preview_assignment_request::Change;
        let actor = caller::actor(&request)?;
        let previewed = match request.into_inner().change {
            Some(Change::Assignment(assignment)) => {
                let wish = wire::assignment::wish_from(Some(assignment))?;
                self.0.preview_assignment(&actor, wish).await
            }
            Some(Change::DeleteName(name)) => self.0.preview_deletion(&actor, name).await,
            None => return Err(status::invalid("change", "an assignment, or the name of one to be deleted")),
        };
        let (assignment, preview) = previewed.map_err(status::of_app)?;
        Ok(Response::new(pb::PreviewAssignmentResponse {
            assignment: self.made(&actor, &assignment).await,
            preview: Some(wire::preview::preview(&preview)),
        }))
    }
}
