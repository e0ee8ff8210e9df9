//! Values to the messages of `muster.local.v1`.

use std::time::Duration;

use muster_common::clock::UnixMillis;
use muster_proto::{local::v1 as pb, types::v1 as types};
use prost_types::Timestamp;

use super::status::{Command, Condition, Health, Item, Log, Node, Problem, Session, SessionState, Status};
pub(super) use crate::session::wire::{facts, setting};
use crate::{
    applier::explain::{Explanation, Reason},
    session::wire::{condition_status, item_state, outcome, reason},
    state::Pause,
};

/// How the agent stands, told at a time.
pub(super) fn status(it: Status, now: UnixMillis) -> pb::AgentStatus {
    pb::AgentStatus {
        schema_version: it.schema_version,
        update_time: Some(time(it.updated_at)),
        health: health(it.health).into(),
        problems: it.problems.into_iter().map(problem).collect(),
        agent_version: it.agent_version,
        pid: it.pid,
        start_time: Some(time(it.started_at)),
        uptime: Some(duration(now.since(it.started_at))),
        node: it.node.map(node),
        session: Some(session(it.session)),
        items: it.items.into_iter().map(item).collect(),
        commands: it.commands.into_iter().map(command).collect(),
        outbox_depth: it.outbox_depth,
        locks: Some(pb::LockStatus { path: it.locks.path, error: it.locks.error }),
        pause: it.pause.map(pause),
        log: Some(log(it.log)),
        conditions: it.conditions.into_iter().map(condition).collect(),
        settings: it.settings.into_iter().map(setting).collect(),
    }
}

fn time(at: UnixMillis) -> Timestamp {
    let (seconds, millis) = (at.0.div_euclid(1000), at.0.rem_euclid(1000));
    Timestamp { seconds, nanos: i32::try_from(millis * 1_000_000).unwrap_or_default() }
}

fn duration(lasts: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(lasts).unwrap_or_default()
}

const fn health(health: Health) -> pb::Health {
    match health {
        Health::Healthy => pb::Health::Healthy,
        Health::NotInAFleet => pb::Health::NotInAFleet,
        Health::CutOff => pb::Health::CutOff,
        Health::Degraded => pb::Health::Degraded,
        Health::Paused => pb::Health::Paused,
    }
}

fn problem(it: Problem) -> pb::HealthProblem {
    pb::HealthProblem { code: it.code, message: it.message }
}

fn node(it: Node) -> pb::NodeIdentity {
    pb::NodeIdentity {
        id: it.id.to_string(),
        display_name: it.display_name,
        trust_domain: it.trust_domain,
        epoch: it.epoch,
        control_plane: it.control_plane,
        certificate_generation: it.certificate.generation,
        certificate_issue_time: Some(time(it.certificate.issued_at)),
        certificate_renew_time: Some(time(it.certificate.renewed_from)),
        certificate_expire_time: Some(time(it.certificate.expires_at)),
    }
}

fn session(it: Session) -> pb::SessionStatus {
    let state = match it.state {
        SessionState::None => pb::SessionState::None,
        SessionState::Connecting => pb::SessionState::Connecting,
        SessionState::Connected => pb::SessionState::Connected,
        SessionState::Waiting => pb::SessionState::Waiting,
    };
    pb::SessionStatus {
        state: state.into(),
        since_time: Some(time(it.since)),
        session_id: it.id,
        error: it.error,
        next_try_time: it.next_try.map(time),
        last_contact_time: it.last_contact.map(time),
        cut_off_time: it.cut_off_since.map(time),
    }
}

fn item(it: Item) -> pb::ItemStatus {
    pb::ItemStatus {
        item: it.item,
        running: it.running,
        attempted: it.attempted,
        outcome: outcome(it.outcome).into(),
        reason: reason(it.reason),
        message: it.message,
        change_time: Some(time(it.changed_at)),
        drifted: it.drifted,
    }
}

fn command(it: Command) -> pb::CommandStatus {
    pb::CommandStatus { id: it.id, kind: it.kind, state: it.state, unacknowledged: it.unacknowledged }
}

fn condition(it: Condition) -> types::Condition {
    types::Condition {
        r#type: it.kind,
        status: condition_status(it.holds).into(),
        reason: it.reason,
        message: it.message,
        since_ms: it.since.0,
    }
}

/// A pause.
pub(super) fn pause(it: Pause) -> pb::PauseStatus {
    pb::PauseStatus {
        reason: it.reason,
        since_time: Some(time(it.since)),
        until_time: it.until.map(time),
        uid: it.uid,
    }
}

/// How much is logged.
pub(super) fn log(it: Log) -> pb::LogStatus {
    pb::LogStatus { level: it.level, until_time: it.until.map(time), overridden: it.overridden }
}

/// Where one item stands, and why.
pub(super) fn explanation(it: Explanation) -> pb::ItemExplanation {
    let because = |it: Reason| pb::ItemReason { about: it.about.to_owned(), holds: it.holds, text: it.text };
    let mut state = it.state;
    if let Some(error) = state.as_mut().and_then(|state| state.error.as_mut()) {
        error.output = it.output.into_bytes();
    }
    let (phase, phase_version) =
        it.under_way.map(|way| (way.phase.to_owned(), way.version)).unwrap_or_default();
    pb::ItemExplanation {
        item: it.item,
        verdict: format!("{:?}", it.verdict),
        reasons: it.reasons.into_iter().map(because).collect(),
        state: state.map(item_state),
        retry_time: it.retry_at.map(time),
        phase,
        phase_version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_have_nanoseconds_that_count_forward() {
        assert_eq!(time(UnixMillis(-1)), Timestamp { seconds: -1, nanos: 999_000_000 });
        assert_eq!(time(UnixMillis(1_500)), Timestamp { seconds: 1, nanos: 500_000_000 });
    }
}
