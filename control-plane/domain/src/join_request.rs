//! A host that waits to be let in.
//!
//! ```text
//! pending ──▶ approved ──▶ (a node; the request is gone)
//!    │            │
//!    └────────────┴──────▶ denied
//! ```

use muster_common::{
    clock::UnixMillis,
    ids::{JoinRequestId, JoinTokenId},
};

use crate::labels::Labels;

/// A host that came with a token which asks for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// For operators.
    pub id: JoinRequestId,
    /// With which it came.
    pub token: JoinTokenId,
    /// SHA-256 of its public key info.
    pub key_sha256: Vec<u8>,
    /// A wish.
    pub display_name: String,
    /// Claim.
    pub hostname: String,
    /// Claim.
    pub machine_fingerprint: Vec<u8>,
    /// Labels that it asks for, and may.
    pub requested_labels: Labels,
    /// From where it came first.
    pub remote_address: String,
    /// When it came first.
    pub created_at: UnixMillis,
    /// With its token.
    pub expires_at: UnixMillis,
    /// What a person said.
    pub state: State,
    /// When.
    pub decided_at: Option<UnixMillis>,
    /// Who; empty: nobody yet.
    pub decided_by: String,
}

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Pending,
    /// Yes; a use of the token was counted.
    Approved,
    /// No.
    Denied,
}

/// What a person can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Let it in.
    Approve,
    /// Do not.
    Deny,
}

/// What an answer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It was said before.
    Same,
    /// The state of now on. `true`: a use of the token is to be counted.
    To(State, bool),
    /// A no is not taken back: the host must come with another key or token.
    Refused,
}

impl State {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }

    /// The state written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Denied].into_iter().find(|state| state.as_str() == text)
    }

    /// What an answer makes of it.
    #[must_use]
    pub const fn answered(self, answer: Answer) -> Move {
        match (self, answer) {
            (Self::Pending, Answer::Approve) => Move::To(Self::Approved, true),
            (Self::Pending | Self::Approved, Answer::Deny) => Move::To(Self::Denied, false),
            (Self::Approved, Answer::Approve) | (Self::Denied, Answer::Deny) => Move::Same,
            (Self::Denied, Answer::Approve) => Move::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_and_a_no_stays() {
        assert_eq!(State::Pending.answered(Answer::Approve), Move::To(State::Approved, true));
        assert_eq!(State::Approved.answered(Answer::Approve), Move::Same);
        assert_eq!(State::Approved.answered(Answer::Deny), Move::To(State::Denied, false));
        assert_eq!(State::Pending.answered(Answer::Deny), Move::To(State::Denied, false));
        assert_eq!(State::Denied.answered(Answer::Deny), Move::Same);
        assert_eq!(State::Denied.answered(Answer::Approve), Move::Refused);
    }

    #[test]
    fn a_state_has_one_written_form() {
        for state in [State::Pending, State::Approved, State::Denied] {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("Pending"), None);
    }
}
