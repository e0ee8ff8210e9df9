//! Schedules.

use muster_domain::schedule::{Fire, Outcome};
use muster_proto::admin::v1 as pb;
use prost::Message as _;
use tonic::Status;

use super::{duration_from, operation, timestamp};
use crate::{
    api::status::invalid,
    app::{
        Error, operations,
        schedules::{Time, View, Wish},
    },
};

pub(in crate::api) fn schedule(view: &View) -> pb::Schedule {
    let schedule = &view.schedule;
    pb::Schedule {
        name: schedule.name.clone(),
        cron: schedule.cron.clone(),
        time_zone: schedule.time_zone.clone(),
        operation: pb::StartOperationRequest::decode(schedule.operation.as_slice()).ok(),
        paused: schedule.paused,
        catch_up: prost_types::Duration::try_from(schedule.catch_up).ok(),
        allow_overlap: schedule.overlap,
        owner: schedule.owner.clone(),
        create_time: Some(timestamp(schedule.created_at)),
        update_time: Some(timestamp(schedule.updated_at)),
        etag: muster_domain::node::etag(schedule.revision),
        next_times: view.next.iter().map(time).collect(),
        last_fires: view.fires.iter().map(fire).collect(),
        last_error: view.last_error().to_owned(),
    }
}

fn time(time: &Time) -> pb::ScheduleTime {
    pb::ScheduleTime { time: Some(timestamp(time.at)), time_zone: time.zone.clone() }
}

fn fire(fire: &Fire) -> pb::ScheduleFire {
    let outcome = match fire.outcome {
        Outcome::Started => pb::ScheduleOutcome::Started,
        Outcome::Missed => pb::ScheduleOutcome::Missed,
        Outcome::Overlapped => pb::ScheduleOutcome::Overlapped,
        Outcome::NoNodes => pb::ScheduleOutcome::NoNodes,
        Outcome::Refused => pb::ScheduleOutcome::Refused,
    };
    pb::ScheduleFire {
        time: Some(timestamp(fire.at)),
        time_zone: fire.zone.clone(),
        outcome: outcome as i32,
        operation_id: fire.operation.map(|id| id.to_string()).unwrap_or_default(),
        message: fire.message.clone(),
    }
}

pub(in crate::api) fn wish_from(schedule: Option<pb::Schedule>) -> Result<Wish, Status> {
    let schedule = schedule.ok_or_else(|| invalid("schedule", "it is missing"))?;
    let operation = schedule
        .operation
        .ok_or_else(|| invalid("schedule.operation", "name the operation that is to be started"))?;
    let forbidden = [
        ("request_id", !operation.request_id.is_empty()),
        ("not_before", operation.not_before.is_some()),
        ("validate_only", operation.validate_only),
    ];
    if let Some((field, _)) = forbidden.into_iter().find(|(_, set)| *set) {
        let message = "leave it out: each start has its own";
        return Err(invalid(format!("schedule.operation.{field}"), message));
    }
    Ok(Wish {
        name: schedule.name,
        cron: schedule.cron,
        time_zone: schedule.time_zone,
        operation: operation.encode_to_vec().into(),
        paused: schedule.paused,
        catch_up: duration_from("schedule.catch_up", schedule.catch_up)?,
        overlap: schedule.allow_overlap,
        etag: schedule.etag,
    })
}

/// What a stored request asks for.
///
/// # Errors
/// If it cannot be read, or asks for what this release does not do.
pub fn operation(request: &[u8]) -> Result<operations::Wish, Error> {
    let request = pb::StartOperationRequest::decode(request)
        .map_err(|error| Error::invalid("schedule.operation", format!("it does not decode: {error}")))?;
    operation::wish_from(request)
        .map_err(|status| Error::invalid("schedule.operation", status.message().to_owned()))
}
