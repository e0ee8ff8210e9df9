//! Answers: what every one has in its headers, and those that are no page.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use muster_common::{error_chain::Chain, reason::Reason};

use super::{frame, visit::Stranger};
use crate::app::Error;

/// Nothing from elsewhere, nothing within the page that acts, and no page of others around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const ON_ALL: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The headers that every answer has.
pub(super) async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ON_ALL {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// No such page.
pub(super) async fn nowhere(_: Stranger) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, Reason::NotFound, "there is no such page")
}

/// Nothing is changed from here.
pub(super) async fn only_get(_: Stranger) -> Problem {
    let text = "pages are read only: there is GET, and nothing else";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Reason::InvalidArgument, text)
}

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) reason: Reason,
    pub(super) text: String,
    after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, reason: Reason, text: impl Into<String>) -> Self {
        Self { status, reason, text: text.into(), after: None }
    }

    /// Whoever asks is nobody who may look.
    pub(super) fn nobody(reason: Reason) -> Self {
        let text = match reason {
            Reason::WrongKindOfCaller => "these pages are for operators, not for nodes",
            Reason::CertificateExpired => "your certificate has run out",
            _ => {
                "you are not known here, or your time is over: show an operator's certificate, or ask for a \
                 link (muster-control-plane console-link)"
            }
        };
        Self::new(StatusCode::UNAUTHORIZED, reason, text)
    }

    /// Whoever asks may not see this.
    pub(super) fn denied(reason: Reason, caller: &str, method: &str) -> Self {
        let method = method.trim_start_matches("/muster.admin.v1.");
        let text = match reason {
            Reason::CertificateRevoked => format!("{caller} was revoked, or has another certificate now"),
            _ => format!("{caller} has no role that allows this page: it asks for what {method} asks for"),
        };
        Self::new(StatusCode::FORBIDDEN, reason, text)
    }

    /// A page of another site asks, and not whoever sits before the browser.
    pub(super) fn of_others() -> Self {
        let text = "another site asked for this in your browser; open it by itself";
        Self::new(StatusCode::FORBIDDEN, Reason::PermissionDenied, text)
    }

    /// The request cannot be.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Reason::InvalidArgument, text)
    }

    /// The address of a page names nothing.
    pub(super) fn no_such(kind: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Reason::NotFound, format!("{kind} {name:?} does not exist"))
    }

    /// It is worth asking again.
    pub(super) fn later(reason: Reason, text: &str, after: Duration) -> Self {
        let status = match reason {
            Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { after: Some(after), ..Self::new(status, reason, text) }
    }

    /// We are at fault.
    pub(super) fn internal(text: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Reason::Internal, text)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, Reason::NotFound, error.to_string()),
            Error::Invalid { reason, .. } => Self::new(StatusCode::BAD_REQUEST, reason, error.to_string()),
            Error::Faults(_) => Self::invalid(error.to_string()),
            Error::Refused { reason: reason @ Reason::PermissionDenied, message } => {
                Self::new(StatusCode::FORBIDDEN, reason, message)
            }
            Error::Refused { reason, message } => Self::new(StatusCode::CONFLICT, reason, message),
            Error::Later { reason, message, after } => Self::later(reason, &message, after),
            Error::Store(_) | Error::Blobs(_) => {
                tracing::error!(error = %Chain(&error), "a page could not be read: {}", Chain(&error));
                let text = "the store did not answer; its log says why, and the page can be asked for again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Internal, text)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, frame::problem(&self)).into_response();
        let seconds = self.after.map(|after| after.as_secs().max(1).to_string());
        if let Some(value) = seconds.and_then(|seconds| HeaderValue::from_str(&seconds).ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}
