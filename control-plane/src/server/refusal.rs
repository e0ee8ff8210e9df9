//! Refusals at the door, as trailers-only responses with a stable reason.

use std::time::Duration;

use http::Response;
use muster_common::reason::Reason;
use tonic::body::Body;

use crate::{api::status, metrics::Metrics};

/// The response that refuses a call.
pub(super) fn response(metrics: &Metrics, reason: Reason, message: &str) -> Response<Body> {
    metrics.refused(reason.as_str());
    status::status(reason, message).into_http()
}

/// The response that refuses a call for so long.
pub(super) fn later(metrics: &Metrics, reason: Reason, message: &str, after: Duration) -> Response<Body> {
    metrics.refused(reason.as_str());
    status::later(reason, message, after).into_http()
}
