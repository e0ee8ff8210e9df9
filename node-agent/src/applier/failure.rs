//! Why an attempt failed, and whose fault it is.

use std::io;

use muster_common::{clock::UnixMillis, digest::Sha256, reason::Reason};

use crate::{
    locks::Locks,
    state::{Cause, ItemError, ItemState, ItemVersion, Outcome},
};

const MAX_MESSAGE: usize = 1024;
const MAX_OUTPUT: usize = 4096;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) error: ItemError,
}

impl Failure {
    /// Refused before anything on the host changed.
    pub(super) fn rejected(reason: Reason, cause: Cause, message: impl Into<String>) -> Self {
        let error = ItemError { reason, cause, message: message.into(), output: Vec::new() };
        Self { outcome: Outcome::Rejected, error }
    }

    /// The host's file system refused.
    pub(super) fn host(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
            _ => Reason::WriteFailed,
        };
        Self::rejected(reason, Cause::Host, error.to_string())
    }

    /// A blob could not be had.
    pub(super) fn not_fetched(message: impl Into<String>) -> Self {
        Self::rejected(Reason::FetchFailed, Cause::Network, message)
    }

    /// The host's lock file forbids hooks.
    pub(super) fn hook_denied(locks: &Locks) -> Self {
        Self::rejected(Reason::HookDenied, Cause::Host, locks.hooks_refused())
    }

    /// The last part of what a hook wrote.
    pub(super) fn with_output(mut self, output: Vec<u8>) -> Self {
        self.error.output = output;
        self
    }

    /// The host has returned to what it ran before.
    pub(super) fn rolled_back(self) -> Self {
        Self { outcome: Outcome::RolledBack, ..self }
    }

    /// The way back failed, too.
    pub(super) fn broken(self, why: &str) -> Self {
        let Self { error: first, .. } = self;
        let message = format!(
            "the way back failed: {why}; it was begun because of {}: {}",
            first.reason, first.message
        );
        let error = ItemError { reason: Reason::RollbackFailed, message, ..first };
        Self { outcome: Outcome::Broken, error }
    }

    /// As it is told.
    pub(super) fn state(
        self,
        item: &str,
        attempted: Option<ItemVersion>,
        running: Option<ItemVersion>,
        changed_at: UnixMillis,
    ) -> ItemState {
        let mut error = self.error;
        error.message = cut(&error.message);
        let surplus = error.output.len().saturating_sub(MAX_OUTPUT);
        error.output.drain(..surplus);
        ItemState {
            item: item.to_owned(),
            running,
            attempted,
            outcome: self.outcome,
            error: Some(error),
            changed_at,
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }
}

/// The attempt failed, and not for what the item itself is: the same may be tried
/// again. A host that is broken waits for a person.
pub(super) fn is_unsettled(state: &ItemState) -> bool {
    let cause = state.error.as_ref().map(|error| error.cause);
    matches!(state.outcome, Outcome::Rejected | Outcome::RolledBack)
        && matches!(cause, Some(Cause::Host | Cause::Network | Cause::ControlPlane))
}

/// This host tries it again by itself. A payload that came over the network must come
/// again; what is fetched with it need not.
pub(super) fn is_retried_here(state: &ItemState) -> bool {
    let by_itself = [Reason::FetchFailed, Reason::NotConfirmed];
    let here = |error: &ItemError| error.cause == Cause::Host || by_itself.contains(&error.reason);
    is_unsettled(state) && state.error.as_ref().is_some_and(here)
}

/// The bytes are those that were meant.
pub(super) fn check_payload(payload: &[u8], sha256: Sha256) -> Result<(), Failure> {
    if Sha256::of(payload) == sha256 {
        return Ok(());
    }
    let message = "the payload does not have the hash it was sent with";
    Err(Failure::rejected(Reason::PayloadCorrupt, Cause::Network, message))
}

fn cut(message: &str) -> String {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}
