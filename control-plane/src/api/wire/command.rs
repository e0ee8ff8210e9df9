//! What commands ask for and what they find. One file for each kind whose arguments can
//! be wrong: a host checks them again, for it must not trust whoever asks.

mod collect_logs;
mod reboot;
mod run_script;
mod service;

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use muster_domain::operation::{DISCONNECT, RUN_TIMEOUT};
use muster_proto::types::v1::{self as types, command_result, command_spec::Kind};
use prost::Message;
use tonic::Status;

pub(in crate::api) use collect_logs::most_bytes;

use crate::{api::status::invalid, session::frames::Found};

/// Largest result that is kept.
const RESULT: usize = 64 * 1024;

/// A kind's name, and its arguments as hosts get them. `time`: for which it may run.
pub(in crate::api) fn kind_from(
    spec: Option<types::CommandSpec>,
    time: Option<Duration>,
) -> Result<(&'static str, Bytes), Status> {
    let kind = spec.and_then(|spec| spec.kind);
    let kind = kind.ok_or_else(|| invalid("spec", "name what is to be done"))?;
    check(&kind, time.unwrap_or(RUN_TIMEOUT))?;
    Ok(match &kind {
        Kind::RestartAgent(args) => ("restart-agent", encoded(args)),
        Kind::RefreshFacts(args) => ("refresh-facts", encoded(args)),
        Kind::RunScript(args) => ("run-script", encoded(args)),
        Kind::Service(args) => ("service", encoded(args)),
        Kind::Reboot(args) => ("reboot", encoded(args)),
        Kind::CollectLogs(args) => (collect_logs::NAME, encoded(args)),
        Kind::RotateIdentity(args) => ("rotate-identity", encoded(args)),
        Kind::Disconnect(args) => (DISCONNECT, encoded(args)),
    })
}

/// The kinds of commands that there are: each is a field of `CommandSpec`, with dashes.
pub(in crate::api) fn kinds() -> &'static [String] {
    static KINDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap_or_default();
        let messages = set.file.into_iter().filter(|file| file.package() == "muster.types.v1");
        let spec = messages.flat_map(|file| file.message_type).find(|it| it.name() == "CommandSpec");
        let fields = spec.map(|spec| spec.field).unwrap_or_default();
        fields.iter().map(|field| field.name().replace('_', "-")).collect()
    });
    &KINDS
}

fn check(kind: &Kind, time: Duration) -> Result<(), Status> {
    match kind {
        Kind::RunScript(args) => run_script::check(args),
        Kind::Service(args) => service::check(args),
        Kind::Reboot(args) => reboot::check(args, time),
        Kind::CollectLogs(args) => collect_logs::check(args),
        Kind::RestartAgent(_) | Kind::RefreshFacts(_) | Kind::RotateIdentity(_) | Kind::Disconnect(_) => {
            Ok(())
        }
    }
}

fn encoded(args: &impl Message) -> Bytes {
    args.encode_to_vec().into()
}

/// As it was asked for.
pub(in crate::api) fn spec(kind: &str, args: &[u8]) -> Option<types::CommandSpec> {
    let kind = match kind {
        "restart-agent" => Kind::RestartAgent(types::RestartAgent::decode(args).ok()?),
        "refresh-facts" => Kind::RefreshFacts(types::RefreshFacts::decode(args).ok()?),
        "run-script" => Kind::RunScript(types::RunScript::decode(args).ok()?),
        "service" => Kind::Service(types::Service::decode(args).ok()?),
        "reboot" => Kind::Reboot(types::Reboot::decode(args).ok()?),
        collect_logs::NAME => Kind::CollectLogs(types::CollectLogs::decode(args).ok()?),
        "rotate-identity" => Kind::RotateIdentity(types::RotateIdentity::decode(args).ok()?),
        DISCONNECT => Kind::Disconnect(types::Disconnect::decode(args).ok()?),
        _ => return None,
    };
    Some(types::CommandSpec { kind: Some(kind) })
}

/// What a host found, as it is kept; one that is too large is not.
pub(in crate::api) fn found(result: Option<&types::CommandResult>) -> Option<Found> {
    let result = result.filter(|result| result.encoded_len() <= RESULT)?;
    let kind = match result.kind.as_ref()? {
        command_result::Kind::RestartAgent(_) => "restart-agent",
        command_result::Kind::Service(_) => "service",
        command_result::Kind::Reboot(_) => "reboot",
        command_result::Kind::CollectLogs(_) => collect_logs::NAME,
        command_result::Kind::RotateIdentity(_) => "rotate-identity",
    };
    Some(Found { kind, bytes: result.encode_to_vec() })
}

/// What is kept, as it is shown.
pub(in crate::api) fn result(bytes: &[u8]) -> Option<types::CommandResult> {
    types::CommandResult::decode(bytes).ok().filter(|result| result.kind.is_some())
}

#[cfg(test)]
mod tests;
