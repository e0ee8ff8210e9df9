//! `GroupsService`.

use muster_proto::admin::v1::{self as pb, groups_service_server::GroupsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about groups.
pub struct Handler(pub App);

#[tonic::async_trait]
impl GroupsService for Handler {
    async fn create_group(
        &self,
        request: Request<pb::CreateGroupRequest>,
    ) -> Result<Response<pb::CreateGroupResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::group::wish_from(request.group)?;
        let made = self.0.create_group(&actor, wish, request.validate_only).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateGroupResponse { group: Some(wire::group::group(&made)) }))
    }

    async fn get_group(
        &self,
        request: Request<pb::GetGroupRequest>,
    ) -> Result<Response<pb::GetGroupResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let found = self.0.group(&scope, request.name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetGroupResponse { group: Some(wire::group::group(&found)) }))
    }

    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let (page, asked) = wire::page::page("ListGroups", &[], request.page_size, &request.page_token)?;
        let listed = self.0.groups(&scope, page).await.map_err(status::of_app)?;
        let shown = listed.rows.iter().map(wire::group::group);
        let (groups, next) = wire::page::fitting(shown, listed.next, |group| group.name.clone());
        let next_page_token = wire::page::next(asked, next.as_deref());
        Ok(Response::new(pb::ListGroupsResponse { groups, next_page_token }))
    }

    async fn update_group(
        &self,
        request: Request<pb::UpdateGroupRequest>,
    ) -> Result<Response<pb::UpdateGroupResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::group::wish_from(request.group)?;
        let updated = self.0.update_group(&actor, wish, request.validate_only).await;
        let (group, preview) = updated.map_err(status::of_app)?;
        Ok(Response::new(pb::UpdateGroupResponse {
            group: Some(wire::group::group(&group)),
            preview: preview.as_ref().map(wire::group::preview),
        }))
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        self.0.delete_group(&actor, request.name, request.etag).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteGroupResponse {}))
    }
}
