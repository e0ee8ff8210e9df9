//! How a use-case can fail.

use std::time::Duration;

use muster_common::reason::Reason;
use muster_domain::violation::Violation;

/// Why a use-case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has this name.
    #[error("{kind} {name:?} does not exist")]
    NotFound {
        /// `node`.
        kind: &'static str,
        /// As asked for.
        name: String,
    },
    /// A field of the request is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// Stable.
        reason: Reason,
        /// Path of the field in the request.
        field: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// Several things in a request are wrong.
    #[error("{}", .0.iter().map(Violation::to_string).collect::<Vec<_>>().join("; "))]
    Faults(Vec<Violation>),
    /// The request is well-formed and cannot be done.
    #[error("{message}")]
    Refused {
        /// Stable.
        reason: Reason,
        /// Why.
        message: String,
    },
    /// It cannot be done now, and it is known when it is worth asking again.
    #[error("{message}")]
    Later {
        /// Stable.
        reason: Reason,
        /// Why.
        message: String,
        /// Then.
        after: Duration,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] muster_store::Error),
    /// The blobs failed, or what came is no blob.
    #[error("the blobs refused")]
    Blobs(#[from] crate::blobs::Error),
}

impl Error {
    pub(crate) fn not_found(kind: &'static str, name: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self::NotFound { kind, name: name.to_string() }
    }

    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { reason: Reason::InvalidArgument, field: field.into(), message: message.into() }
    }

    pub(crate) fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::Refused { reason, message: message.into() }
    }

    pub(crate) fn later(reason: Reason, message: impl Into<String>, after: Duration) -> Self {
        Self::Later { reason, message: message.into(), after }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid { reason: violation.reason, field: violation.field, message: violation.description }
    }
}
