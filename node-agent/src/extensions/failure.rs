//! Why something failed, and whose fault it is.

use std::io;

use muster_common::reason::Reason;

use crate::{
    locks::DENIED,
    state::{Cause, ItemError},
};

const MAX_MESSAGE: usize = 1024;
const MAX_OUTPUT: usize = 4096;

pub(super) fn error(reason: Reason, cause: Cause, message: impl Into<String>) -> ItemError {
    let mut message = message.into();
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    ItemError { reason, cause, message, output: Vec::new() }
}

/// The version's own fault: it is settled.
pub(super) fn content(reason: Reason, message: String) -> ItemError {
    error(reason, Cause::Content, message)
}

/// The host's fault: it is tried again.
pub(super) fn host(reason: Reason, message: String) -> ItemError {
    error(reason, Cause::Host, message)
}

/// What the half with rights said.
pub(super) fn of_depot(failed: &io::Error) -> ItemError {
    let message = failed.to_string();
    match failed.kind() {
        io::ErrorKind::InvalidInput if message.contains(DENIED) => denied(message),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            content(Reason::ExtensionPackageInvalid, message)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => host(Reason::DiskFull, message),
        _ => host(Reason::WriteFailed, message),
    }
}

/// The lock file is against it.
pub(super) fn denied(message: String) -> ItemError {
    host(Reason::ExtensionDenied, message)
}

/// With the last part of what a program wrote.
pub(super) fn with_output(mut error: ItemError, mut output: Vec<u8>) -> ItemError {
    let surplus = output.len().saturating_sub(MAX_OUTPUT);
    output.drain(..surplus);
    error.output = output;
    error
}

/// It failed, and the way back did, too.
pub(super) fn broken(first: Option<&ItemError>, back: ItemError) -> ItemError {
    let because = first.map_or_else(String::new, |first| {
        format!("; it was begun because of {}: {}", first.reason, first.message)
    });
    let message = format!("the way back failed: {}{because}", back.message);
    with_output(error(Reason::RollbackFailed, back.cause, message), back.output)
}

/// The same is worth another try on this host.
pub(super) fn is_retried(error: &ItemError) -> bool {
    error.cause != Cause::Content && error.reason != Reason::ExtensionRemovedHere
}
