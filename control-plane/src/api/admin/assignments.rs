//! `AssignmentsService`.

use muster_domain::assignment::Assignment;
use muster_proto::admin::v1::{self as pb, assignments_service_server::AssignmentsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about assignments.
pub struct Handler(pub App);

impl Handler {
    async fn shown(&self, assignments: &[Assignment]) -> Vec<pb::Assignment> {
        let reach = self.0.reach(assignments).await;
        let shown = assignments.iter().zip(reach);
        shown.map(|(assignment, nodes)| wire::assignment::assignment(assignment, nodes)).collect()
    }

    async fn shown_one(&self, assignment: Assignment) -> Option<pb::Assignment> {
        self.shown(&[assignment]).await.pop()
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
        Ok(Response::new(pb::CreateAssignmentResponse { assignment: self.shown_one(made).await }))
    }

    async fn get_assignment(
        &self,
        request: Request<pb::GetAssignmentRequest>,
    ) -> Result<Response<pb::GetAssignmentResponse>, Status> {
        let found = self.0.assignment(request.into_inner().name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetAssignmentResponse { assignment: self.shown_one(found).await }))
    }

    async fn list_assignments(
        &self,
        request: Request<pb::ListAssignmentsRequest>,
    ) -> Result<Response<pb::ListAssignmentsResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) = wire::page::page("ListAssignments", &[], request.page_size, &request.page_token)?;
        let listed = self.0.assignments(page).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListAssignmentsResponse {
            assignments: self.shown(&listed.rows).await,
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
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
        Ok(Response::new(pb::UpdateAssignmentResponse { assignment: self.shown_one(made).await }))
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
}
