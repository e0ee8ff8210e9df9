//! From every room's errors to `google.rpc.Status` with a stable reason.

use std::time::Duration;

use muster_common::{error_chain::Chain, reason::Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{app, session::frames::Refusal};

const DOMAIN: &str = "muster";

/// A status with its stable reason.
#[must_use]
pub fn status(reason: Reason, message: impl Into<String>) -> Status {
    Status::with_error_details(code(reason), message, details(reason))
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
        app::Error::Refused { reason, message } => status(reason, message),
        app::Error::Store(error) => of_store(&error),
    }
}

fn of_store(error: &muster_store::Error) -> Status {
    if matches!(error, muster_store::Error::Busy) {
        return status(Reason::Overloaded, "too many writes wait; try again");
    }
    tracing::error!(error = %Chain(error), "the store failed");
    status(Reason::Internal, "the store failed; the log of the control plane says more")
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
    if matches!(reason, Reason::Overloaded | Reason::RateLimited | Reason::ShuttingDown) {
        details.set_retry_info(Some(Duration::from_secs(1)));
    }
    details
}

fn code(reason: Reason) -> Code {
    use Reason::*;
    match reason {
        InvalidArgument | SelectorInvalid | PageTokenInvalid | SettingUnknown | SettingInvalid | TooLarge
        | CsrInvalid | CsrNamesForbidden | MessageInvalid | SequenceOutOfOrder => Code::InvalidArgument,
        NotFound => Code::NotFound,
        AlreadyExists | RequestIdReused => Code::AlreadyExists,
        EtagMismatch | Fenced => Code::Aborted,
        ResumeTokenExpired => Code::OutOfRange,
        Unauthenticated | WrongTrustDomain | TokenUnknown | CertificateExpired => Code::Unauthenticated,
        WrongKindOfCaller | PermissionDenied | CertificateRevoked | TokenExpired | TokenUsedUp
        | TokenRevoked | TokenWrongNetwork | NodeRemoved => Code::PermissionDenied,
        RateLimited | FrameTooLarge | SlowReader => Code::ResourceExhausted,
        Overloaded | ShuttingDown | EnrollmentDisabled => Code::Unavailable,
        Internal => Code::Internal,
        // The rest says that something is not possible in the present state, or is said by hosts alone.
        _ => Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn named(code: Code) -> &'static str {
        match code {
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::Unavailable => "UNAVAILABLE",
            Code::Internal => "INTERNAL",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            other => panic!("{other:?} is none of ours"),
        }
    }

    /// The first code that a section of the page names.
    fn documented(page: &str, reason: Reason) -> Option<&str> {
        let section = page.split("\n## ").find(|section| section.lines().next() == Some(reason.as_str()));
        let section = section.unwrap_or_else(|| panic!("{reason} has no section"));
        section.split_once("Code")?.1.trim_start().strip_prefix('`')?.split('`').next()
    }

    #[test]
    fn every_reason_has_the_code_that_its_page_says() {
        let page = read("docs/errors/README.md");
        let (of_calls, of_hosts) = page.split_once("\n# Items on the host").unwrap();
        for reason in Reason::ALL.iter().copied() {
            let by_hosts = of_hosts.contains(&format!("\n## {reason}\n"));
            let text = if by_hosts { of_hosts } else { of_calls };
            let expected = (!by_hosts && reason != Reason::CaPinMismatch).then(|| named(code(reason)));
            assert_eq!(documented(text, reason), expected, "{reason}");
        }
    }

    #[test]
    fn every_reason_has_the_code_that_the_protocol_says() {
        let mut seen = 0;
        for file in
            ["nodes", "join_tokens", "bundles", "settings", "assignments", "operations", "audit", "system"]
                .map(|name| format!("proto/muster/admin/v1/{name}.proto"))
                .into_iter()
                .chain(
                    ["enrollment", "identity", "session"]
                        .map(|name| format!("proto/muster/agent/v1/{name}.proto")),
                )
        {
            let text: String = read(&file).lines().map(|line| line.trim().trim_start_matches("//")).collect();
            for reason in Reason::ALL.iter().copied() {
                for told in codes_beside(&text, reason) {
                    assert_eq!(told, named(code(reason)), "{reason} in {file}");
                    seen += 1;
                }
            }
        }
        assert!(seen >= 20, "only {seen} were found: is CODE (REASON, REASON) still how they are written?");
    }

    /// Codes before brackets that name a reason: `CODE (REASON, REASON)`.
    fn codes_beside(text: &str, reason: Reason) -> Vec<&str> {
        let brackets = text.match_indices(" (").filter_map(|(at, _)| {
            let list = text[at + 2..].split_once(')')?.0;
            let code = text[..at].rsplit(|c: char| !c.is_ascii_uppercase() && c != '_').next()?;
            (!code.is_empty()).then_some((code, list))
        });
        let here = brackets.filter(|(_, list)| list.split(',').any(|word| word.trim() == reason.as_str()));
        here.map(|(code, _)| code).collect()
    }
}
