//! Has the host's key and certificate renewed, and waits until they are in use.

use muster_proto::types::v1::{self as types, command_result};

use super::{Options, Stop, Voice, with_result};
use crate::state::{CommandState, Report};

pub(super) async fn run(options: &Options, voice: &Voice, stop: impl Future<Output = Stop>) -> Report {
    let rotated = tokio::select! {
        biased;
        why = stop => return why.report(voice),
        rotated = options.errands.rotate() => rotated,
    };
    let result = types::RotateIdentityResult {
        serial: rotated.serial,
        not_after_ms: rotated.not_after.0,
        certificate_generation: rotated.generation,
    };
    with_result(voice.report(CommandState::Succeeded), command_result::Kind::RotateIdentity(result))
}
