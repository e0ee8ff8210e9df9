//! Items and where they stand.

use bytes::Bytes;
use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation};
use muster_domain::item::{Cause, ItemError, ItemState, ItemVersion, Outcome};
use muster_proto::types::v1 as pb;

use super::{reason, reason_from};

/// Longest message of an error that is kept.
const MESSAGE: usize = 1024;
/// Longest output of an error that is kept.
const OUTPUT: usize = 4096;

pub(in crate::api) fn version(version: &ItemVersion) -> pb::ItemVersion {
    pb::ItemVersion {
        epoch: version.generation.epoch,
        generation: version.generation.number,
        version: version.version.clone(),
        sha256: Bytes::copy_from_slice(version.sha256.as_bytes()),
    }
}

fn version_from(version: &pb::ItemVersion) -> Option<ItemVersion> {
    Some(ItemVersion {
        generation: Generation::new(version.epoch, version.generation),
        sha256: Sha256::from_slice(&version.sha256)?,
        version: version.version.chars().take(64).collect(),
    })
}

pub(in crate::api) fn state(state: &ItemState) -> pb::ItemState {
    pb::ItemState {
        item: state.item.to_string(),
        running: state.running.as_ref().map(version),
        attempted: state.attempted.as_ref().map(version),
        outcome: state.outcome.map_or(0, |outcome| outcome_to(outcome) as i32),
        error: state.error.as_ref().map(|error| pb::ItemError {
            reason: reason(error.reason),
            cause: error.cause.map_or(0, |cause| cause_to(cause) as i32),
            message: error.message.clone(),
            output: Bytes::from(error.output.clone()),
        }),
        changed_at_ms: state.changed_at.0,
    }
}

/// `None`: an item of a kind this release does not know.
pub(in crate::api) fn state_from(state: pb::ItemState) -> Option<ItemState> {
    Some(ItemState {
        item: state.item.parse().ok()?,
        outcome: outcome_from(state.outcome()),
        running: state.running.as_ref().and_then(version_from),
        attempted: state.attempted.as_ref().and_then(version_from),
        error: state.error.map(|error| ItemError {
            reason: reason_from(error.reason),
            cause: cause_from(error.cause()),
            message: error.message.chars().take(MESSAGE).collect(),
            output: String::from_utf8_lossy(&error.output[..error.output.len().min(OUTPUT)]).into_owned(),
        }),
        changed_at: UnixMillis(state.changed_at_ms),
    })
}

fn outcome_to(outcome: Outcome) -> pb::ItemOutcome {
    match outcome {
        Outcome::Applied => pb::ItemOutcome::Applied,
        Outcome::Unchanged => pb::ItemOutcome::Unchanged,
        Outcome::RolledBack => pb::ItemOutcome::RolledBack,
        Outcome::Rejected => pb::ItemOutcome::Rejected,
        Outcome::Broken => pb::ItemOutcome::Broken,
        Outcome::Removed => pb::ItemOutcome::Removed,
    }
}

fn outcome_from(outcome: pb::ItemOutcome) -> Option<Outcome> {
    match outcome {
        pb::ItemOutcome::Unspecified => None,
        pb::ItemOutcome::Applied => Some(Outcome::Applied),
        pb::ItemOutcome::Unchanged => Some(Outcome::Unchanged),
        pb::ItemOutcome::RolledBack => Some(Outcome::RolledBack),
        pb::ItemOutcome::Rejected => Some(Outcome::Rejected),
        pb::ItemOutcome::Broken => Some(Outcome::Broken),
        pb::ItemOutcome::Removed => Some(Outcome::Removed),
    }
}

fn cause_to(cause: Cause) -> pb::FailureCause {
    match cause {
        Cause::Content => pb::FailureCause::Content,
        Cause::Host => pb::FailureCause::Host,
        Cause::Network => pb::FailureCause::Network,
        Cause::ControlPlane => pb::FailureCause::ControlPlane,
    }
}

fn cause_from(cause: pb::FailureCause) -> Option<Cause> {
    match cause {
        pb::FailureCause::Unspecified => None,
        pb::FailureCause::Content => Some(Cause::Content),
        pb::FailureCause::Host => Some(Cause::Host),
        pb::FailureCause::Network => Some(Cause::Network),
        pb::FailureCause::ControlPlane => Some(Cause::ControlPlane),
    }
}
