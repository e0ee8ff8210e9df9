//! Why something failed, and whose fault it is.

use std::{io, time::Duration};

use muster_common::reason::Reason;

use super::machine::Step;
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

/// A step's time is over: of the version speaks only what its own programs take.
pub(super) fn not_over(step: Step, limit: Duration) -> ItemError {
    let message = format!("{} was not over after {} s", step.told(), limit.as_secs());
    match step {
        Step::Fetching => error(Reason::FetchFailed, Cause::Network, message),
        Step::Unpacking | Step::Clearing => host(Reason::WriteFailed, message),
        _ => content(Reason::ExtensionVerbTimedOut, message),
    }
}

/// The lock file is against it.
pub(super) fn denied(message: String) -> ItemError {
    host(Reason::ExtensionDenied, message)
}

/// The host's administrator removed it: that is settled, nobody waits for another try.
pub(super) fn removed_here() -> ItemError {
    let message = "the host's administrator removed it; another version brings it again";
    content(Reason::ExtensionRemovedHere, message.to_owned())
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
    error.cause != Cause::Content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_over_is_blamed_on_whoever_took_it() {
        let blamed = |step| {
            let error = not_over(step, Duration::from_secs(9));
            (error.reason, error.cause)
        };
        assert_eq!(blamed(Step::Fetching), (Reason::FetchFailed, Cause::Network));
        assert_eq!(blamed(Step::Unpacking), (Reason::WriteFailed, Cause::Host));
        assert_eq!(blamed(Step::Enabling), (Reason::ExtensionVerbTimedOut, Cause::Content));
    }
}
