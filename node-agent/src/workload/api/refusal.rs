//! Refusals, each with its stable reason.

use std::collections::HashMap;

use muster_common::reason::Reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::workload::{Caller, Trouble};

/// A status with its stable reason.
pub(super) fn status(reason: Reason, message: impl Into<String>) -> Status {
    let code = match reason {
        Reason::InvalidArgument | Reason::WorkloadTokenInvalid => Code::InvalidArgument,
        Reason::WorkloadUnavailable | Reason::WorkloadDisabled => Code::Unavailable,
        Reason::Internal => Code::Internal,
        Reason::RateLimited => Code::ResourceExhausted,
        _ => Code::PermissionDenied,
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(reason.as_str(), "muster", HashMap::new());
    Status::with_error_details(code, message, details)
}

/// The control plane gives nothing, or cannot be asked.
pub(super) fn of_trouble(trouble: &Trouble) -> Status {
    let what = if trouble.is_refusal { "no identity is to be had" } else { "the control plane is away" };
    status(trouble.reason, format!("{what}: {}", trouble.message))
}

/// No rule names the caller. It is told what the rules would have had to say.
pub(super) fn denied(caller: &Caller, is_locked: bool) -> Status {
    let Caller { uid, gid, unit } = caller;
    let unit = unit.as_deref().unwrap_or("none");
    let why = if is_locked {
        "the host's lock file cannot be used: everything is locked".to_owned()
    } else {
        format!("no [[workload.identities]] of the host's lock file fits uid {uid}, gid {gid}, unit {unit}")
    };
    status(Reason::WorkloadDenied, why)
}
