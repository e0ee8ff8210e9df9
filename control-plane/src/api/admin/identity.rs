//! `IdentityService` of operators: the authority and revocations.

use muster_domain::{
    authority::{Authority, Move},
    revocation::Subject,
};
use muster_proto::admin::v1::{self as pb, identity_service_server::IdentityService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::{App, authority::Source},
    ca::Scope,
};

/// Answers about the authority.
pub struct Handler(pub App);

impl Handler {
    async fn shown(&self) -> Result<Option<pb::Authority>, Status> {
        let (authority, progress) = self.0.authority().await.map_err(status::of_app)?;
        Ok(Some(wire::authority::authority(&authority, &progress)))
    }

    async fn go<T>(&self, request: &Request<T>, step: Move, forced: bool) -> Result<Authority, Status> {
        let actor = caller::actor(request)?;
        self.0.authority_go(&actor, step, forced).await.map_err(status::of_app)
    }
}

#[tonic::async_trait]
impl IdentityService for Handler {
    async fn get_authority(
        &self,
        _: Request<pb::GetAuthorityRequest>,
    ) -> Result<Response<pb::GetAuthorityResponse>, Status> {
        Ok(Response::new(pb::GetAuthorityResponse { authority: self.shown().await? }))
    }

    async fn prepare_authority(
        &self,
        request: Request<pb::PrepareAuthorityRequest>,
    ) -> Result<Response<pb::PrepareAuthorityResponse>, Status> {
        let actor = caller::actor(&request)?;
        let scope = match request.get_ref().scope() {
            pb::AuthorityScope::Unspecified | pb::AuthorityScope::Issuing => Scope::Issuing,
            pb::AuthorityScope::Root => Scope::Root,
        };
        self.0.authority_prepare(&actor, &Source::Own(scope)).await.map_err(status::of_app)?;
        Ok(Response::new(pb::PrepareAuthorityResponse { authority: self.shown().await? }))
    }

    async fn activate_authority(
        &self,
        request: Request<pb::ActivateAuthorityRequest>,
    ) -> Result<Response<pb::ActivateAuthorityResponse>, Status> {
        self.go(&request, Move::Activate, request.get_ref().force).await?;
        Ok(Response::new(pb::ActivateAuthorityResponse { authority: self.shown().await? }))
    }

    async fn rollback_authority(
        &self,
        request: Request<pb::RollbackAuthorityRequest>,
    ) -> Result<Response<pb::RollbackAuthorityResponse>, Status> {
        self.go(&request, Move::Rollback, request.get_ref().force).await?;
        Ok(Response::new(pb::RollbackAuthorityResponse { authority: self.shown().await? }))
    }

    async fn retire_authority(
        &self,
        request: Request<pb::RetireAuthorityRequest>,
    ) -> Result<Response<pb::RetireAuthorityResponse>, Status> {
        self.go(&request, Move::Retire, request.get_ref().force).await?;
        Ok(Response::new(pb::RetireAuthorityResponse { authority: self.shown().await? }))
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let subject = subject(&request.subject)?;
        let revocation = self.0.revoke(&actor, subject, request.reason).await.map_err(status::of_app)?;
        Ok(Response::new(pb::RevokeResponse { revocation: Some(wire::authority::revocation(&revocation)) }))
    }

    async fn delete_revocation(
        &self,
        request: Request<pb::DeleteRevocationRequest>,
    ) -> Result<Response<pb::DeleteRevocationResponse>, Status> {
        let actor = caller::actor(&request)?;
        let subject = subject(&request.get_ref().subject)?;
        self.0.delete_revocation(&actor, subject).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteRevocationResponse {}))
    }

    async fn list_revocations(
        &self,
        _: Request<pb::ListRevocationsRequest>,
    ) -> Result<Response<pb::ListRevocationsResponse>, Status> {
        let found = self.0.revocations.all();
        Ok(Response::new(pb::ListRevocationsResponse {
            revocations: found.iter().map(wire::authority::revocation).collect(),
        }))
    }
}

fn subject(text: &str) -> Result<Subject, Status> {
    text.parse().map_err(|error: muster_domain::revocation::InvalidSubject| {
        status::invalid("subject", error.to_string())
    })
}
