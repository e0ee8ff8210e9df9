//! Why a file was not obtained, and whose fault it is.

use muster_common::{error_chain::Chain, reason::Reason, tuf};

use super::{
    Wanted,
    fault::{Fault, Source},
};
use crate::{admission, state::Cause, verbs::No};

/// Longest message.
const LONGEST: usize = 1000;

/// A file was not obtained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whose fault.
    pub cause: Cause,
    /// Stable reason.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Error {
    fn new(cause: Cause, reason: Reason, message: &str) -> Self {
        let message = message.chars().take(LONGEST).collect();
        Self { cause, reason, message }
    }

    /// There is nobody to ask.
    pub(super) fn nobody() -> Self {
        Self::new(Cause::Network, Reason::FetchFailed, "")
    }

    pub(super) fn too_large(wanted: &Wanted) -> Self {
        let message =
            format!("{} is to have {} bytes; {} are the most", wanted.target, wanted.size, tuf::MOST_FILE);
        Self::new(Cause::Content, Reason::TooLarge, &message)
    }

    /// After one source failed, another did. The last counts: it is the control plane, if
    /// there is one.
    pub(super) fn then(self, source: &Source, error: &Self) -> Self {
        let before = if self.message.is_empty() { String::new() } else { format!("{self}; ") };
        Self::new(error.cause, error.reason, &format!("{before}{source}: {error}"))
    }

    pub(super) fn refused(error: &tuf::Error) -> Self {
        let of_host = admission::Error::Refused(error.clone());
        Self::new(of_host.cause(), error.reason(), &error.to_string())
    }

    pub(super) fn of_host(error: &std::io::Error) -> Self {
        No::host(error).into()
    }

    pub(super) fn fault(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::new(
                Cause::ControlPlane,
                Reason::FetchFailed,
                "it does not have the file that its metadata names",
            ),
            Fault::Forbidden => Self::new(Cause::Network, Reason::FetchFailed, "it answers 403 Forbidden"),
            Fault::Network(message) => Self::new(Cause::Network, Reason::FetchFailed, &message),
            Fault::Refused(reason, message) => Self::new(Cause::ControlPlane, reason, &message),
        }
    }
}

impl From<No> for Error {
    fn from(no: No) -> Self {
        Self::new(no.cause, no.reason, &no.message)
    }
}

impl From<admission::Error> for Error {
    fn from(error: admission::Error) -> Self {
        Self::new(error.cause(), error.reason(), &Chain(&error).to_string())
    }
}
