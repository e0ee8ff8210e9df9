//! Refusals, each with its stable reason.

use std::collections::HashMap;

use muster_common::reason::Reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A status with its stable reason.
pub(super) fn status(reason: Reason, message: impl Into<String>) -> Status {
    Status::with_error_details(code(reason), message, details(reason))
}

/// A field of a request that is wrong.
pub(super) fn invalid(field: &str, message: &str) -> Status {
    let mut details = details(Reason::InvalidArgument);
    details.add_bad_request_violation(field, message);
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {message}"), details)
}

fn details(reason: Reason) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason.as_str(), "muster", HashMap::new());
    details
}

const fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidArgument => Code::InvalidArgument,
        Reason::NotFound => Code::NotFound,
        Reason::PermissionDenied => Code::PermissionDenied,
        Reason::RateLimited => Code::ResourceExhausted,
        Reason::ShuttingDown => Code::Unavailable,
        Reason::NotInAFleet | Reason::LogLevelFixed | Reason::ExtensionDenied => Code::FailedPrecondition,
        _ => Code::Internal,
    }
}
