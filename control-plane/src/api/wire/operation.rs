//! Operations, their commands and what these print.

use bytes::Bytes;
use muster_common::ids::NodeId;
use muster_domain::{
    command::{Command, Output, State},
    operation::{Counts, Operation, pace::Hold},
};
use muster_proto::{admin::v1 as pb, types::v1 as types};
use tonic::Status;

use super::{command, duration_from, node, plan, reason, timestamp, timestamp_from};
use crate::{
    api::status::invalid,
    app::operations::{PreviewCounts, Previewed, Wish, output::From},
};

/// Bytes of output in a page, when nobody says, and at most.
const OUTPUT_PAGE: u32 = 64 * 1024;
const OUTPUT_PAGE_AT_MOST: u32 = 1024 * 1024;

pub(in crate::api) fn operation(
    operation: &Operation,
    counts: &Counts,
    hold: Option<&Hold>,
) -> pb::Operation {
    let state = match operation.ended_at {
        Some(_) => pb::OperationState::Ended,
        None => pb::OperationState::Running,
    };
    pb::Operation {
        id: operation.id.to_string(),
        selector: operation.selector.clone(),
        spec: command::spec(&operation.kind, &operation.args),
        state: state as i32,
        create_time: Some(timestamp(operation.created_at)),
        end_time: operation.ended_at.map(timestamp),
        created_by: operation.created_by.clone(),
        not_before: operation.not_before.map(timestamp),
        deliver_by: Some(timestamp(operation.deliver_by)),
        run_timeout: prost_types::Duration::try_from(operation.run_timeout).ok(),
        counts: Some(counts_to(counts)),
        request_id: operation.request_id.clone().unwrap_or_default(),
        cancel_requested: operation.cancel_requested,
        trace_id: operation.trace_id.clone(),
        lane: operation.lane.clone(),
        output_limit_bytes: operation.output_limit,
        schedule: operation.schedule.clone(),
        pacing: plan::pacing(&operation.plan),
        preconditions: plan::preconditions(&operation.plan),
        supersede: plan::supersede(&operation.plan),
        lease: operation.plan.lease.clone().unwrap_or_default(),
        hold: hold.map(plan::hold),
        retry_of: operation.retry_of.map(|id| id.to_string()).unwrap_or_default(),
        cancel_forced: operation.cancel_forced,
    }
}

fn counts_to(counts: &Counts) -> pb::CommandCounts {
    let get = |state| i32::try_from(counts.get(state)).unwrap_or(i32::MAX);
    pb::CommandCounts {
        total: i32::try_from(counts.total()).unwrap_or(i32::MAX),
        queued: get(State::Queued),
        delivered: get(State::Delivered),
        running: get(State::Running),
        succeeded: get(State::Succeeded),
        failed: get(State::Failed),
        timed_out: get(State::TimedOut),
        cancelled: get(State::Cancelled),
        interrupted: get(State::Interrupted),
        expired: get(State::Expired),
        denied: get(State::Denied),
    }
}

pub(in crate::api) fn command(command: &Command, output: &[Output]) -> pb::NodeCommand {
    let stream = |stderr| {
        let pieces = output.iter().filter(|piece| piece.stderr == stderr);
        Bytes::from(pieces.flat_map(|piece| piece.data.iter().copied()).collect::<Vec<u8>>())
    };
    pb::NodeCommand {
        id: command.id.to_string(),
        operation_id: command.operation.to_string(),
        node_id: command.node.to_string(),
        state: state(command.state) as i32,
        exit_code: command.exit_code.unwrap_or(0),
        reason: reason(command.reason),
        message: command.message.clone(),
        create_time: Some(timestamp(command.created_at)),
        update_time: Some(timestamp(command.updated_at)),
        end_time: command.ended_at.map(timestamp),
        stdout: stream(false),
        stderr: stream(true),
        dropped_output_bytes: command.dropped_bytes,
        signal: command.signal.unwrap_or(0),
        stdout_bytes: command.output_bytes.saturating_sub(command.stderr_bytes),
        stderr_bytes: command.stderr_bytes,
        retry_of: command.retry_of.map(|id| id.to_string()).unwrap_or_default(),
        result: super::command::result(&command.result),
    }
}

pub(in crate::api) fn previewed(seen: &Previewed) -> pb::PreviewedNode {
    pb::PreviewedNode {
        node_id: seen.node.to_string(),
        display_name: seen.display_name.clone(),
        liveness: node::state(seen.liveness) as i32,
        precondition: seen.unmet.clone().unwrap_or_default(),
        kind_unknown: seen.kind_unknown,
    }
}

pub(in crate::api) fn preview_counts(counts: &PreviewCounts) -> pb::PreviewCounts {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    pb::PreviewCounts {
        total: number(counts.total),
        online: number(counts.online),
        precondition_failed: number(counts.unmet),
        kind_unknown: number(counts.kind_unknown),
        superseded: i32::try_from(counts.superseded).unwrap_or(i32::MAX),
    }
}

/// The states of a request.
pub(in crate::api) fn states_from(states: &[i32]) -> Result<Vec<State>, Status> {
    let one = |number: &i32| {
        let known = types::CommandState::try_from(*number).ok();
        let known = known.and_then(|known| State::ALL.into_iter().find(|it| state(*it) == known));
        known.ok_or_else(|| invalid("states", format!("{number} is no state of a command")))
    };
    states.iter().map(one).collect()
}

pub(in crate::api) fn output(piece: Output, node: NodeId) -> pb::CommandOutput {
    pb::CommandOutput {
        command_id: piece.command.to_string(),
        node_id: node.to_string(),
        stderr: piece.stderr,
        data: Bytes::from(piece.data),
        offset: piece.offset,
        dropped_bytes: piece.dropped_bytes,
    }
}

pub(in crate::api) fn output_from(request: &pb::ReadCommandOutputRequest) -> Result<From, Status> {
    let bytes = match request.max_bytes {
        0 => OUTPUT_PAGE,
        bytes if bytes <= OUTPUT_PAGE_AT_MOST => bytes,
        bytes => return Err(invalid("max_bytes", format!("it is {bytes}; it may be {OUTPUT_PAGE_AT_MOST}"))),
    };
    Ok(From {
        command: super::id("command_id", &request.command_id)?,
        stderr: request.stderr,
        offset: request.offset,
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
    })
}

fn state(state: State) -> types::CommandState {
    match state {
        State::Queued => types::CommandState::Queued,
        State::Delivered => types::CommandState::Delivered,
        State::Running => types::CommandState::Running,
        State::Succeeded => types::CommandState::Succeeded,
        State::Failed => types::CommandState::Failed,
        State::TimedOut => types::CommandState::TimedOut,
        State::Cancelled => types::CommandState::Cancelled,
        State::Interrupted => types::CommandState::Interrupted,
        State::Expired => types::CommandState::Expired,
        State::Denied => types::CommandState::Denied,
    }
}

pub(in crate::api) fn wish_from(request: pb::StartOperationRequest) -> Result<Wish, Status> {
    let run_timeout = duration_from("run_timeout", request.run_timeout)?;
    let (kind, args) = command::kind_from(request.spec, run_timeout)?;
    Ok(Wish {
        selector: request.selector,
        kind,
        args,
        request_id: request.request_id,
        not_before: request.not_before.as_ref().map(timestamp_from),
        deliver_within: duration_from("deliver_within", request.deliver_within)?,
        run_timeout,
        lane: request.lane,
        output_limit: (request.output_limit_bytes != 0).then_some(request.output_limit_bytes),
        schedule: String::new(),
        plan: plan::plan_from(plan::Parts {
            pacing: request.pacing,
            preconditions: request.preconditions,
            supersede: request.supersede,
            lease: request.lease,
        }),
        validate_only: request.validate_only,
    })
}
