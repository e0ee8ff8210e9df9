//! Join tokens.

use muster_domain::join_token::JoinToken;
use muster_proto::admin::v1 as pb;
use tonic::Status;

use super::{duration_from, timestamp};
use crate::app::join_tokens::Wish;

pub(in crate::api) fn join_token(token: &JoinToken) -> pb::JoinToken {
    pb::JoinToken {
        id: token.id.to_string(),
        description: token.description.clone(),
        labels: token.labels.clone().into_iter().collect(),
        max_uses: i32::try_from(token.max_uses).unwrap_or(i32::MAX),
        uses: i32::try_from(token.uses).unwrap_or(i32::MAX),
        create_time: Some(timestamp(token.created_at)),
        expire_time: Some(timestamp(token.expires_at)),
        revoke_time: token.revoked_at.map(timestamp),
        allowed_cidrs: token.allowed.iter().map(ToString::to_string).collect(),
    }
}

pub(in crate::api) fn wish_from(request: pb::CreateJoinTokenRequest) -> Result<Wish, Status> {
    Ok(Wish {
        description: request.description,
        labels: request.labels.into_iter().collect(),
        max_uses: request.max_uses,
        ttl: duration_from("ttl", request.ttl)?,
        allowed: request.allowed_cidrs,
    })
}
