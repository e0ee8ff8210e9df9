//! Hosts that wait until a person says yes: how they come to be known, and what
//! is said to them. They become nodes in [`super::enrollment`].

use muster_common::{ids::JoinRequestId, reason::Reason};
use muster_domain::{
    audit::Note,
    event::{Happened, Kind},
    join_request::{Answer, JoinRequest, Move, State},
    join_token::{self, JoinToken},
    page::{Listed, Page},
};
use muster_store::{
    ReadJoinRequests as _, ReadJoinTokens as _, WriteJoinRequests as _, WriteJoinTokens as _, WriteTx,
};
use serde_json::json;

use super::{Actor, App, Error, events};

/// How many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of all tokens together.
    pub in_all: u64,
    /// Of one token.
    pub of_token: u64,
}

impl App {
    /// A page of hosts that wait, were approved and did not ask again yet, or were denied.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn join_requests(&self, page: Page) -> Result<Listed<JoinRequest>, Error> {
        let now = self.clock.now();
        self.store.read(move |tx| tx.join_request_list(now, &page).map_err(Error::from)).await
    }

    /// What a person says to a host that waits.
    ///
    /// # Errors
    /// If there is no such request, it was denied before, or its token is of no use any more.
    pub async fn answer_join_request(
        &self,
        actor: &Actor,
        id: JoinRequestId,
        answer: Answer,
    ) -> Result<JoinRequest, Error> {
        let now = self.clock.now();
        let action = match answer {
            Answer::Approve => "join-requests.approve",
            Answer::Deny => "join-requests.deny",
        };
        let by = actor.principal.clone();
        self.commit(actor.stamp(action, now), move |tx| {
            let found = tx.join_request_get(id)?.filter(|request| request.expires_at > now);
            let request = found.ok_or_else(|| Error::not_found("join request", &id))?;
            match request.state.answered(answer) {
                Move::Same => return Ok(request),
                Move::Refused => {
                    let text = format!("join request {id} was denied; the host must come with another token");
                    return Err(Error::refused(Reason::StateConflict, text));
                }
                Move::To(state, counts) => {
                    if counts {
                        use_token(tx, &request, now)?;
                    } else if request.state == State::Approved {
                        // It let nobody in.
                        tx.join_token_give_back(request.token)?;
                    }
                    tx.join_request_decide(id, state, now, &by)?;
                    tx.audit(note(&request, state))?;
                    events::tell(tx, decided(&request, state))?;
                }
            }
            tx.join_request_get(id)?.ok_or_else(|| Error::not_found("join request", &id))
        })
        .await
    }
}

/// Counts a use of the request's token.
fn use_token(
    tx: &mut WriteTx<'_>,
    request: &JoinRequest,
    now: muster_common::clock::UnixMillis,
) -> Result<(), Error> {
    let id = request.token;
    let token = tx.join_token_get(id)?.ok_or_else(|| Error::not_found("join token", &id))?;
    let conflict = |reason| {
        Error::refused(Reason::StateConflict, format!("join token {id} can let nobody in any more: {reason}"))
    };
    // From where the host may come was looked at when it came, and is again when it comes back.
    let open = JoinToken { allowed: Vec::new(), ..token };
    join_token::judge(&open, now, std::net::Ipv4Addr::UNSPECIFIED.into()).map_err(conflict)?;
    if tx.join_token_use_once(id)? { Ok(()) } else { Err(conflict(Reason::TokenUsedUp)) }
}

/// Makes a host known that came with a good token; the same again for the same key.
pub(super) fn ask(tx: &mut WriteTx<'_>, request: &JoinRequest, bounds: Bounds) -> Result<JoinRequest, Error> {
    if let Some(known) = tx.join_request_by_key(request.token, &request.key_sha256)? {
        return Ok(known);
    }
    let (all, of_token) = tx.join_requests_waiting(request.token, request.created_at)?;
    if all >= bounds.in_all || of_token >= bounds.of_token {
        let text = "too many hosts wait for approval; somebody must approve or deny some, or end their token";
        return Err(Error::refused(Reason::Overloaded, text));
    }
    tx.join_request_insert(request)?;
    tx.audit(note(request, State::Pending))?;
    Ok(request.clone())
}

/// What a host that waits is told.
pub(super) fn told(request: &JoinRequest) -> Error {
    match request.state {
        State::Denied => {
            let text = format!("join request {} was denied", request.id);
            Error::refused(Reason::ApprovalDenied, text)
        }
        State::Pending | State::Approved => {
            let text = format!("join request {} waits for a person to approve it", request.id);
            Error::refused(Reason::ApprovalPending, text)
        }
    }
}

fn decided(request: &JoinRequest, state: State) -> Happened {
    let name = if request.display_name.is_empty() { &request.hostname } else { &request.display_name };
    let kind = if state == State::Approved { Kind::JoinApproved } else { Kind::JoinDenied };
    Happened::new(kind, &format!("{name:?} was {}", state.as_str()))
        .about(format!("join-request/{}", request.id))
        .with("join_token", request.token)
        .with("address", &request.remote_address)
}

fn note(request: &JoinRequest, state: State) -> Note {
    Note {
        subject: format!("join-request/{}", request.id),
        after: json!({
            "state": state.as_str(),
            "join_token": request.token,
            "display_name": request.display_name,
            "hostname": request.hostname,
            "key_sha256": hex::encode(&request.key_sha256),
            "remote_address": request.remote_address,
            "requested_labels": request.requested_labels,
        })
        .to_string(),
        ..Note::default()
    }
}
