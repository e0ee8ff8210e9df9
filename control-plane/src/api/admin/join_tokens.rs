//! `JoinTokensService`.

use muster_domain::join_request::Answer;
use muster_proto::admin::v1::{self as pb, join_tokens_service_server::JoinTokensService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about join tokens.
pub struct Handler(pub App);

#[tonic::async_trait]
impl JoinTokensService for Handler {
    async fn create_join_token(
        &self,
        request: Request<pb::CreateJoinTokenRequest>,
    ) -> Result<Response<pb::CreateJoinTokenResponse>, Status> {
        let actor = caller::actor(&request)?;
        let wish = wire::join_token::wish_from(request.into_inner())?;
        let (token, join) = self.0.create_join_token(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateJoinTokenResponse {
            join_token: Some(wire::join_token::join_token(&token)),
            join_string: join.to_string(),
        }))
    }

    async fn get_join_token(
        &self,
        request: Request<pb::GetJoinTokenRequest>,
    ) -> Result<Response<pb::GetJoinTokenResponse>, Status> {
        let id = wire::id("id", &request.get_ref().id)?;
        let token = self.0.join_token(id).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetJoinTokenResponse { join_token: Some(wire::join_token::join_token(&token)) }))
    }

    async fn list_join_tokens(
        &self,
        request: Request<pb::ListJoinTokensRequest>,
    ) -> Result<Response<pb::ListJoinTokensResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) = wire::page::page("ListJoinTokens", &[], request.page_size, &request.page_token)?;
        let listed = self.0.join_tokens(page).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListJoinTokensResponse {
            join_tokens: listed.rows.iter().map(wire::join_token::join_token).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn revoke_join_token(
        &self,
        request: Request<pb::RevokeJoinTokenRequest>,
    ) -> Result<Response<pb::RevokeJoinTokenResponse>, Status> {
        let actor = caller::actor(&request)?;
        let id = wire::id("id", &request.get_ref().id)?;
        let token = self.0.revoke_join_token(&actor, id).await.map_err(status::of_app)?;
        Ok(Response::new(pb::RevokeJoinTokenResponse {
            join_token: Some(wire::join_token::join_token(&token)),
        }))
    }

    async fn list_join_requests(
        &self,
        request: Request<pb::ListJoinRequestsRequest>,
    ) -> Result<Response<pb::ListJoinRequestsResponse>, Status> {
        let request = request.into_inner();
        let (page, asked) =
            wire::page::page("ListJoinRequests", &[], request.page_size, &request.page_token)?;
        let listed = self.0.join_requests(page).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListJoinRequestsResponse {
            join_requests: listed.rows.iter().map(wire::join_token::join_request).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn approve_join_request(
        &self,
        request: Request<pb::ApproveJoinRequestRequest>,
    ) -> Result<Response<pb::ApproveJoinRequestResponse>, Status> {
        let (actor, id) = (caller::actor(&request)?, wire::id("id", &request.get_ref().id)?);
        let decided =
            self.0.answer_join_request(&actor, id, Answer::Approve).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ApproveJoinRequestResponse {
            join_request: Some(wire::join_token::join_request(&decided)),
        }))
    }

    async fn deny_join_request(
        &self,
        request: Request<pb::DenyJoinRequestRequest>,
    ) -> Result<Response<pb::DenyJoinRequestResponse>, Status> {
        let (actor, id) = (caller::actor(&request)?, wire::id("id", &request.get_ref().id)?);
        let decided = self.0.answer_join_request(&actor, id, Answer::Deny).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DenyJoinRequestResponse {
            join_request: Some(wire::join_token::join_request(&decided)),
        }))
    }
}
