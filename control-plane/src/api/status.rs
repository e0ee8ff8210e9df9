//! From every room's errors to `google.rpc.Status` with a stable reason.

use std::time::Duration;

use muster_common::{error_chain::Chain, reason::Reason};
use muster_domain::violation::Violation;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{app, blobs, session::frames::Refusal};

const DOMAIN: &str = "muster";

/// A status with its stable reason.
#[must_use]
pub fn status(reason: Reason, message: impl Into<String>) -> Status {
    Status::with_error_details(code(reason), message, details(reason))
}

/// A status that says when it is worth asking again.
#[must_use]
pub fn later(reason: Reason, message: impl Into<String>, after: Duration) -> Status {
    let mut details = details(reason);
    details.set_retry_info(Some(after));
    Status::with_error_details(code(reason), message, details)
}

/// The status of a use-case that was refused.
#[must_use]
pub fn of_app(error: app::Error) -> Status {
    match error {
        app::Error::NotFound { .. } => status(Reason::NotFound, error.to_string()),
        app::Error::Invalid { reason, field, message } => {
            let mut details = details(reason);
            details.add_bad_request_violation(&field, &message);
            Status::with_error_details(code(reason), format!("{field}: {message}"), details)
        }
        app::Error::Faults(faults) => of_faults(&faults),
        app::Error::Refused { reason, message } => status(reason, message),
        app::Error::Later { reason, message, after } => later(reason, message, after),
        app::Error::Store(error) => of_store(&error),
        app::Error::Blobs(error) => of_blobs(&error),
    }
}

/// All that is wrong in a request: one violation for each fault, the reason and the
/// message of the first.
#[must_use]
pub fn of_faults(faults: &[Violation]) -> Status {
    let reason = faults.first().map_or(Reason::InvalidArgument, |first| first.reason);
    let mut details = details(reason);
    for fault in faults {
        details.add_bad_request_violation(fault.field.clone(), &fault.description);
    }
    let first = faults.first().map(Violation::to_string).unwrap_or_default();
    let message = match faults.len() {
        0 | 1 => first,
        all => format!("{first} (and {} more)", all - 1),
    };
    Status::with_error_details(code(reason), message, details)
}

fn of_blobs(error: &blobs::Error) -> Status {
    use blobs::Error::{Busy, Digest, DiskFull, Gap, TooLong, TooShort};
    match error {
        Busy => status(Reason::Overloaded, error.to_string()),
        Gap { .. } => status(Reason::StateConflict, format!("{error}; GetUpload says where to go on")),
        TooLong(_) | TooShort { .. } => status(Reason::InvalidArgument, error.to_string()),
        Digest { .. } => status(Reason::DigestMismatch, error.to_string()),
        // For an operator of the control plane to see, and it passes.
        DiskFull(_) => {
            tracing::error!(error = %Chain(error), "no more blobs can be taken now");
            status(Reason::Overloaded, format!("{error}; try again when there is room"))
        }
        _ => {
            tracing::error!(error = %Chain(error), "the blobs failed");
            status(Reason::Internal, "the blobs failed; the log of the control plane says more")
        }
    }
}

fn of_store(error: &muster_store::Error) -> Status {
    use muster_store::Error::{Busy, Closed, DiskFull, Locked, OutcomeUnknown, PageKey, Unreachable};
    let what = match error {
        PageKey(_) => return status(Reason::PageTokenInvalid, "the page token is not one of this list"),
        Busy => return status(Reason::Overloaded, "too many writes wait; try again"),
        Closed => return status(Reason::ShuttingDown, "the control plane is shutting down"),
        // Those two are for an operator of the control plane to see, and they pass.
        Locked(_) => "another process keeps the store locked; try again",
        DiskFull(_) => "the disk of the store is full; try again when there is room",
        Unreachable(_) => {
            tracing::error!(error = %Chain(error), "the store cannot be reached");
            return status(Reason::StoreUnreachable, "the store cannot be reached; nothing was written");
        }
        OutcomeUnknown(_) => {
            tracing::error!(error = %Chain(error), "the store was lost during a commit");
            let what =
                "the store was lost while it wrote: read whether the change is there before you repeat it";
            return status(Reason::StoreOutcomeUnknown, what);
        }
        _ => {
            tracing::error!(error = %Chain(error), "the store failed");
            return status(Reason::Internal, "the store failed; the log of the control plane says more");
        }
    };
    tracing::error!(error = %Chain(error), "the store can take nothing now");
    status(Reason::Overloaded, what)
}

/// The status that ends a session.
#[must_use]
pub fn of_refusal(refusal: &Refusal) -> Status {
    status(refusal.reason, refusal.message.clone())
}

/// A field of a request that is wrong.
#[must_use]
pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Status {
    of_app(app::Error::invalid(field, message))
}

/// A request of which nothing was read, because the whole is over the limit.
#[must_use]
pub fn whole_message_too_large(message: &str) -> Status {
    Status::with_error_details(Code::ResourceExhausted, message, details(Reason::TooLarge))
}

fn details(reason: Reason) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason.as_str(), DOMAIN, std::collections::HashMap::new());
    if let Some(wait) = retry_after(reason) {
        details.set_retry_info(Some(wait));
    }
    details
}

/// When it is worth asking again; a person takes longer than a queue.
const fn retry_after(reason: Reason) -> Option<Duration> {
    match reason {
        Reason::Overloaded | Reason::RateLimited | Reason::ShuttingDown => Some(Duration::from_secs(1)),
        Reason::ApprovalPending | Reason::OidcUnavailable | Reason::HostCaUnavailable => {
            Some(Duration::from_secs(5))
        }
        Reason::StoreUnreachable => Some(Duration::from_secs(2)),
        _ => None,
    }
}

fn code(reason: Reason) -> Code {
    use Reason::*;
    match reason {
        InvalidArgument | SelectorInvalid | PageTokenInvalid | SettingUnknown | SettingInvalid
        | SettingHostOnly | TooLarge | DigestMismatch | CsrInvalid | CsrNamesForbidden | MessageInvalid
        | SequenceOutOfOrder | WorkloadTokenInvalid | ArtifactUntrusted | RepositoryInvalid => {
            Code::InvalidArgument
        }
        NotFound => Code::NotFound,
        AlreadyExists | RequestIdReused => Code::AlreadyExists,
        EtagMismatch | Fenced => Code::Aborted,
        ResumeTokenExpired => Code::OutOfRange,
        Unauthenticated
        | WrongTrustDomain
        | TokenUnknown
        | OidcTokenInvalid
        | OidcIssuerUnknown
        | HostCertificateInvalid
        | CertificateExpired
        | ProofInvalid => Code::Unauthenticated,
        WrongKindOfCaller | PermissionDenied | CertificateRevoked | TokenExpired | TokenUsedUp
        | TokenRevoked | TokenWrongNetwork | NodeRemoved | RecoveryTooLate | RecoveryLimit | Quarantined
        | ApprovalDenied | HostCertificateUsed | RenameDisabled | WorkloadDenied | LabelNotRequestable => {
            Code::PermissionDenied
        }
        RateLimited | FrameTooLarge | SlowReader | QuotaExceeded => Code::ResourceExhausted,
        Overloaded | ShuttingDown | EnrollmentDisabled | RecoveryDisabled | ApprovalPending
        | OidcUnavailable | HostCaUnavailable | WorkloadDisabled | WorkloadUnavailable | StoreUnreachable => {
            Code::Unavailable
        }
        // Not UNAVAILABLE, which clients repeat by themselves.
        StoreOutcomeUnknown => Code::Unknown,
        Internal => Code::Internal,
        // The rest says that something is not possible in the present state, or is said by hosts alone.
        _ => Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests;
