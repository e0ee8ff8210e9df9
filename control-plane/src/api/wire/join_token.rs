//! Join tokens.

use muster_domain::{
    join_request::{JoinRequest, State},
    join_token::JoinToken,
};
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
        require_approval: token.require_approval,
        requestable_labels: token.requestable.written(),
    }
}

pub(in crate::api) fn join_request(request: &JoinRequest) -> pb::JoinRequest {
    let state = match request.state {
        State::Pending => pb::JoinRequestState::Pending,
        State::Approved => pb::JoinRequestState::Approved,
        State::Denied => pb::JoinRequestState::Denied,
    };
    pb::JoinRequest {
        id: request.id.to_string(),
        join_token_id: request.token.to_string(),
        display_name: request.display_name.clone(),
        hostname: request.hostname.clone(),
        machine_fingerprint: request.machine_fingerprint.clone().into(),
        key_sha256: hex::encode(&request.key_sha256),
        remote_address: request.remote_address.clone(),
        state: state.into(),
        create_time: Some(timestamp(request.created_at)),
        expire_time: Some(timestamp(request.expires_at)),
        decide_time: request.decided_at.map(timestamp),
        decided_by: request.decided_by.clone(),
        requested_labels: request.requested_labels.clone().into_iter().collect(),
    }
}

pub(in crate::api) fn wish_from(request: pb::CreateJoinTokenRequest) -> Result<Wish, Status> {
    Ok(Wish {
        description: request.description,
        labels: request.labels.into_iter().collect(),
        max_uses: request.max_uses,
        ttl: duration_from("ttl", request.ttl)?,
        allowed: request.allowed_cidrs,
        require_approval: request.require_approval,
        requestable: request.requestable_labels,
    })
}
