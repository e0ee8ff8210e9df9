//! Items and where they stand.

use bytes::Bytes;
use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation};
use muster_domain::item::{
    Cause, Drift, Health, ItemError, ItemState, ItemVersion, MAX_DRIFT, Outcome, Progress,
};
use muster_proto::types::v1 as pb;

use super::{reason, reason_from};

/// Longest message of an error that is kept.
const MESSAGE: usize = 1024;
/// Longest output of an error that is kept.
const OUTPUT: usize = 4096;
/// Longest path and longest diff of drift that is kept.
const PATH: usize = 4096;
const DIFF: usize = 4096;
/// Longest name of a step.
const STEP: usize = 32;

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
        drift: state.drift.iter().map(drift).collect(),
        progress: state.progress.as_ref().map(progress),
        health: state.health.as_ref().map(health),
    }
}

fn progress(progress: &Progress) -> pb::ItemProgress {
    pb::ItemProgress {
        step: progress.step.clone(),
        percent: progress.percent.into(),
        since_ms: progress.since.0,
        message: progress.message.clone(),
    }
}

fn progress_from(progress: pb::ItemProgress) -> Progress {
    Progress {
        step: cut(progress.step, STEP),
        percent: u8::try_from(progress.percent.min(100)).unwrap_or(100),
        since: UnixMillis(progress.since_ms),
        message: cut(progress.message, MESSAGE),
    }
}

fn health(health: &Health) -> pb::ItemHealth {
    pb::ItemHealth { healthy: health.healthy, message: health.message.clone(), since_ms: health.since.0 }
}

fn health_from(health: pb::ItemHealth) -> Health {
    Health {
        healthy: health.healthy,
        message: cut(health.message, MESSAGE),
        since: UnixMillis(health.since_ms),
    }
}

fn drift(drift: &Drift) -> pb::ItemDrift {
    let digest = |digest: &Option<Sha256>| {
        digest.as_ref().map(|it| Bytes::copy_from_slice(it.as_bytes())).unwrap_or_default()
    };
    pb::ItemDrift {
        path: drift.path.clone(),
        what: drift.what.clone(),
        before_sha256: digest(&drift.before),
        after_sha256: digest(&drift.after),
        diff: drift.diff.clone(),
        noticed_at_ms: drift.noticed_at.0,
        corrected: drift.corrected,
        error: drift.error.clone(),
    }
}

fn drift_from(drift: pb::ItemDrift) -> Drift {
    Drift {
        path: cut(drift.path, PATH),
        what: cut(drift.what, MESSAGE),
        before: Sha256::from_slice(&drift.before_sha256),
        after: Sha256::from_slice(&drift.after_sha256),
        diff: cut(drift.diff, DIFF),
        noticed_at: UnixMillis(drift.noticed_at_ms),
        corrected: drift.corrected,
        error: cut(drift.error, MESSAGE),
    }
}

/// At most this many bytes of a text.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
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
        drift: state.drift.into_iter().take(MAX_DRIFT).map(drift_from).collect(),
        progress: state.progress.map(progress_from),
        health: state.health.map(health_from),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_bounded_and_comes_out_as_it_came_in() {
        let one = pb::ItemDrift {
            path: "/etc/app.conf".to_owned(),
            what: "content".to_owned(),
            before_sha256: Bytes::copy_from_slice(Sha256::of(b"a").as_bytes()),
            noticed_at_ms: 7,
            corrected: true,
            ..Default::default()
        };
        let long = pb::ItemDrift { diff: "é".repeat(4096), path: "p".repeat(9999), ..one.clone() };
        let told = pb::ItemState {
            item: "bundle/app".to_owned(),
            drift: [vec![one.clone(), long], vec![one.clone(); 20]].concat(),
            ..Default::default()
        };
        let shown = state(&state_from(told).unwrap());
        assert_eq!((shown.drift.len(), &shown.drift[0]), (MAX_DRIFT, &one));
        assert_eq!((shown.drift[1].diff.len(), shown.drift[1].path.len()), (DIFF, PATH));
    }
}
