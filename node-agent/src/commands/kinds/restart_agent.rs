//! Starts the agent anew. The next process is the proof, and reports it.

use muster_common::reason::Reason;
use muster_proto::types::v1::{self as types, command_result};

use super::{Left, Options, Stop, Voice, failed, with_result};
use crate::{
    ledger::Entry,
    state::{CommandState, Report},
};

/// Ends only if the restart does not come.
pub(super) async fn run(options: &Options, voice: &Voice, stop: impl Future<Output = Stop>) -> Report {
    if let Err(error) = voice.noted(options.instance.to_string()).await {
        return failed(voice, Reason::StartFailed, format!("it cannot be written down: {error}"));
    }
    options.restart.cancel();
    stop.await.report(voice)
}

/// Of an order that an earlier process was given.
pub(super) fn left(entry: &Entry, options: &Options) -> Left {
    // Without: it ended before it was restarted for this order.
    let Some(was) = &entry.was else { return Left::Unknown };
    let result = types::RestartAgentResult {
        old_instance_id: was.clone(),
        new_instance_id: options.instance.to_string(),
    };
    let report = Report::new(0, CommandState::Succeeded, options.clock.now());
    Left::Ended(with_result(report, command_result::Kind::RestartAgent(result)))
}
