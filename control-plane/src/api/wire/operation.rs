//! Operations, their commands and what these print.

use bytes::Bytes;
use muster_common::ids::NodeId;
use muster_domain::{
    command::{Command, Output, State},
    operation::{Counts, Operation},
};
use muster_proto::{
    admin::v1 as pb,
    types::v1::{self as types, command_spec::Kind},
};
use prost::Message as _;
use tonic::Status;

use super::{duration_from, reason, timestamp, timestamp_from};
use crate::{
    api::status::{invalid, of_app},
    app::{
        Error,
        operations::{Wish, output::From},
    },
};

/// Largest script.
const SCRIPT: usize = 64 * 1024;
/// The same with interpreter and all: a message to a host holds it.
const WHOLE: usize = SCRIPT + 8 * 1024;
/// Bytes of output in a page, when nobody says, and at most.
const OUTPUT_PAGE: u32 = 64 * 1024;
const OUTPUT_PAGE_AT_MOST: u32 = 1024 * 1024;
/// Most words of an interpreter, and most variables.
const WORDS: usize = 64;

pub(in crate::api) fn operation(operation: &Operation, counts: &Counts) -> pb::Operation {
    let state = match operation.ended_at {
        Some(_) => pb::OperationState::Ended,
        None => pb::OperationState::Running,
    };
    pb::Operation {
        id: operation.id.to_string(),
        selector: operation.selector.clone(),
        spec: spec(&operation.kind, &operation.args),
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
    }
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
    let kind =
        request.spec.and_then(|spec| spec.kind).ok_or_else(|| invalid("spec", "name what is to be done"))?;
    let (kind, args) = kind_from(&kind)?;
    Ok(Wish {
        selector: request.selector,
        kind,
        args,
        request_id: request.request_id,
        not_before: request.not_before.as_ref().map(timestamp_from),
        deliver_within: duration_from("deliver_within", request.deliver_within)?,
        run_timeout: duration_from("run_timeout", request.run_timeout)?,
        lane: request.lane,
        output_limit: (request.output_limit_bytes != 0).then_some(request.output_limit_bytes),
        validate_only: request.validate_only,
    })
}

fn kind_from(kind: &Kind) -> Result<(&'static str, Bytes), Status> {
    Ok(match kind {
        Kind::RestartAgent(args) => ("restart-agent", args.encode_to_vec().into()),
        Kind::RefreshFacts(args) => ("refresh-facts", args.encode_to_vec().into()),
        Kind::RunScript(args) => {
            check_script(args)?;
            ("run-script", args.encode_to_vec().into())
        }
    })
}

fn check_script(args: &types::RunScript) -> Result<(), Status> {
    if args.script.is_empty() {
        return Err(invalid("spec.run_script.script", "it is empty"));
    }
    let environment: usize = args.environment.iter().map(|(key, value)| key.len() + value.len()).sum();
    let words = args.interpreter.len().max(args.environment.len());
    if args.script.len() + environment > SCRIPT || words > WORDS || args.encoded_len() > WHOLE {
        return Err(of_app(Error::Invalid {
            reason: muster_common::reason::Reason::TooLarge,
            field: "spec.run_script".to_owned(),
            message: format!(
                "at most {SCRIPT} bytes of script and environment, at most {WORDS} words or variables, \
                 at most {WHOLE} bytes in all"
            ),
        }));
    }
    if args.interpreter.first().is_some_and(|program| !program.starts_with('/')) {
        return Err(invalid("spec.run_script.interpreter", "its first word must be an absolute path"));
    }
    let is_name = |key: &String| !key.is_empty() && !key.contains(['=', '\0']);
    if !args.environment.keys().all(is_name) {
        return Err(invalid("spec.run_script.environment", "a name is empty or has '=' in it"));
    }
    Ok(())
}

fn spec(kind: &str, args: &[u8]) -> Option<types::CommandSpec> {
    let kind = match kind {
        "restart-agent" => Kind::RestartAgent(types::RestartAgent::decode(args).ok()?),
        "refresh-facts" => Kind::RefreshFacts(types::RefreshFacts::decode(args).ok()?),
        "run-script" => Kind::RunScript(types::RunScript::decode(args).ok()?),
        _ => return None,
    };
    Some(types::CommandSpec { kind: Some(kind) })
}

#[cfg(test)]
mod tests {
    use muster_common::reason::Reason;
    use tonic_types::StatusExt as _;

    use super::*;

    fn script() -> types::RunScript {
        types::RunScript { script: "true".to_owned(), ..Default::default() }
    }

    fn refused(args: &types::RunScript) -> Option<String> {
        let status = check_script(args).err()?;
        status.get_error_details().error_info().map(|info| info.reason.clone())
    }

    #[test]
    fn no_part_of_a_script_can_make_its_order_too_large_for_a_host() {
        let large = Some(Reason::TooLarge.as_str().to_owned());
        let long = "x".repeat(SCRIPT);
        assert_eq!(refused(&types::RunScript { script: long.clone(), ..script() }), None);
        assert_eq!(refused(&types::RunScript { script: long.clone() + "x", ..script() }), large);
        let interpreter = vec!["/bin/sh".to_owned(), long.clone(), long];
        assert_eq!(refused(&types::RunScript { interpreter, ..script() }), large);
    }

    #[test]
    fn the_same_environment_in_another_order_has_the_same_bytes() {
        let variable = |key: &str| {
            let environment = [(key.to_owned(), "1".to_owned())].into_iter().collect();
            types::RunScript { environment, ..Default::default() }.encode_to_vec()
        };
        let keys = ["A", "B", "C", "D", "E", "F", "G", "H"];
        let there: Vec<u8> = keys.iter().flat_map(|key| variable(key)).collect();
        let back: Vec<u8> = keys.iter().rev().flat_map(|key| variable(key)).collect();
        let again = |bytes: &[u8]| types::RunScript::decode(bytes).unwrap().encode_to_vec();
        assert_eq!(again(&there), again(&back));
    }
}
