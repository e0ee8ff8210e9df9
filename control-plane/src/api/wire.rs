//! Between the wire and the house. `thing` goes to the wire, `thing_from` comes from it.

pub(super) mod access;
pub(super) mod alert;
pub(super) mod artifact;
pub(super) mod assignment;
pub(super) mod audit;
pub(super) mod authority;
pub(super) mod blob;
pub(super) mod bundle;
pub(super) mod command;
pub(super) mod event;
pub(super) mod explain;
pub(super) mod extension;
pub(super) mod group;
pub(super) mod identity;
pub(super) mod item;
pub(super) mod join_token;
pub(super) mod lease;
pub(super) mod node;
pub(super) mod operation;
pub(super) mod outline;
pub(super) mod page;
mod plan;
pub(super) mod preview;
pub(super) mod release;
pub(super) mod replica;
pub(super) mod rollout;
pub(super) mod schedule;
pub(super) mod session;
pub(super) mod settings;
pub(super) mod workload;

use std::{str::FromStr, time::Duration};

use muster_common::{clock::UnixMillis, reason::Reason};
use muster_proto::types::v1 as types;
use prost_types::Timestamp;
use tonic::Status;

use super::status;

/// A point of time.
pub(super) fn timestamp(at: UnixMillis) -> Timestamp {
    Timestamp {
        seconds: at.0.div_euclid(1000),
        nanos: i32::try_from(at.0.rem_euclid(1000)).unwrap_or(0) * 1_000_000,
    }
}

/// A point of time in a request.
pub(super) fn timestamp_from(at: &Timestamp) -> UnixMillis {
    UnixMillis(at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos / 1_000_000)))
}

/// A length of time in a request; never negative.
pub(super) fn duration_from(
    field: &'static str,
    value: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Status> {
    value
        .map(|value| Duration::try_from(value).map_err(|_| status::invalid(field, "it must not be negative")))
        .transpose()
}

/// An id in a request.
pub(super) fn id<T>(field: &'static str, text: &str) -> Result<T, Status>
where
    T: FromStr,
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| status::invalid(field, error.to_string()))
}

/// A reason that a host gave.
pub(super) fn reason_from(reason: i32) -> Option<Reason> {
    let known = types::ErrorReason::try_from(reason).ok()?;
    Reason::parse(known.as_str_name().strip_prefix("ERROR_REASON_")?)
}

/// A reason as it is shown.
pub(super) fn reason(reason: Option<Reason>) -> i32 {
    let name = reason.map(|reason| format!("ERROR_REASON_{reason}"));
    name.and_then(|name| types::ErrorReason::from_str_name(&name)).unwrap_or_default() as i32
}
