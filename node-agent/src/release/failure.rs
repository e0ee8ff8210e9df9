//! Why something failed, and whose fault it is.

use muster_common::reason::Reason;

use crate::{
    state::{Cause, ItemError},
    verbs::{self, messages::UpgradeFailure},
};

const MAX_MESSAGE: usize = 1024;
const MAX_OUTPUT: usize = 4096;

pub(super) fn error(reason: Reason, cause: Cause, message: impl Into<String>) -> ItemError {
    let mut message = message.into();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    ItemError { reason, cause, message, output: Vec::new() }
}

/// What the watchdog says.
pub(super) fn of_watchdog(failed: UpgradeFailure) -> ItemError {
    let reason = Reason::parse(&failed.reason).unwrap_or(Reason::UpgradeFailed);
    let mut output = failed.output.into_bytes();
    output.drain(..output.len().saturating_sub(MAX_OUTPUT));
    ItemError { output, ..error(reason, verbs::cause(failed.cause), failed.message) }
}
