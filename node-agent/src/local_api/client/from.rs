//! Messages of `muster.local.v1` to values. `None`: the agent said what makes no sense.

use muster_common::{clock::UnixMillis, reason::Reason};
use muster_proto::{local::v1 as pb, types::v1 as types};
use prost_types::Timestamp;

use crate::{
    local_api::status::{
        Certificate, Command, Condition, Health, Item, Locks, Log, Node, Problem, Session, SessionState,
        Status,
    },
    state::{EffectiveSetting, Origin, Outcome, Pause},
};

pub(super) fn status(it: pb::AgentStatus) -> Option<Status> {
    let health = health(it.health())?;
    let problem = |it: pb::HealthProblem| Problem { code: it.code, message: it.message };
    let locks = it.locks.unwrap_or_default();
    Some(Status {
        schema_version: it.schema_version,
        updated_at: time(it.update_time?),
        health,
        problems: it.problems.into_iter().map(problem).collect(),
        agent_version: it.agent_version,
        pid: it.pid,
        started_at: time(it.start_time?),
        node: match it.node {
            Some(it) => Some(node(it)?),
            None => None,
        },
        session: session(it.session?)?,
        items: it.items.into_iter().map(item).collect::<Option<_>>()?,
        commands: it.commands.into_iter().map(command).collect(),
        outbox_depth: it.outbox_depth,
        locks: Locks { path: locks.path, error: locks.error },
        pause: match it.pause {
            Some(it) => Some(pause(it)?),
            None => None,
        },
        log: log(it.log?),
        conditions: it.conditions.into_iter().map(condition).collect(),
        settings: it.settings.into_iter().map(setting).collect::<Option<_>>()?,
    })
}

fn time(at: Timestamp) -> UnixMillis {
    UnixMillis(at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos / 1_000_000)))
}

const fn health(health: pb::Health) -> Option<Health> {
    Some(match health {
        pb::Health::Unspecified => return None,
        pb::Health::Healthy => Health::Healthy,
        pb::Health::NotInAFleet => Health::NotInAFleet,
        pb::Health::CutOff => Health::CutOff,
        pb::Health::Degraded => Health::Degraded,
        pb::Health::Paused => Health::Paused,
    })
}

fn node(it: pb::NodeIdentity) -> Option<Node> {
    Some(Node {
        id: it.id.parse().ok()?,
        display_name: it.display_name,
        trust_domain: it.trust_domain,
        epoch: it.epoch,
        control_plane: it.control_plane,
        certificate: Certificate {
            generation: it.certificate_generation,
            issued_at: time(it.certificate_issue_time?),
            renewed_from: time(it.certificate_renew_time?),
            expires_at: time(it.certificate_expire_time?),
        },
    })
}

fn session(it: pb::SessionStatus) -> Option<Session> {
    let state = match it.state() {
        pb::SessionState::Unspecified => return None,
        pb::SessionState::None => SessionState::None,
        pb::SessionState::Connecting => SessionState::Connecting,
        pb::SessionState::Connected => SessionState::Connected,
        pb::SessionState::Waiting => SessionState::Waiting,
    };
    Some(Session {
        state,
        since: time(it.since_time?),
        id: it.session_id,
        error: it.error,
        next_try: it.next_try_time.map(time),
        last_contact: it.last_contact_time.map(time),
        cut_off_since: it.cut_off_time.map(time),
    })
}

fn item(it: pb::ItemStatus) -> Option<Item> {
    let outcome = match it.outcome() {
        types::ItemOutcome::Unspecified => Outcome::UnderWay,
        types::ItemOutcome::Applied => Outcome::Applied,
        types::ItemOutcome::Unchanged => Outcome::Unchanged,
        types::ItemOutcome::RolledBack => Outcome::RolledBack,
        types::ItemOutcome::Rejected => Outcome::Rejected,
        types::ItemOutcome::Broken => Outcome::Broken,
        types::ItemOutcome::Removed => Outcome::Removed,
    };
    let reason = it.reason().as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
    Some(Item {
        outcome,
        reason: Reason::parse(&reason),
        item: it.item,
        running: it.running,
        attempted: it.attempted,
        message: it.message,
        changed_at: time(it.change_time?),
        drifted: it.drifted,
    })
}

fn command(it: pb::CommandStatus) -> Command {
    Command { id: it.id, kind: it.kind, state: it.state, unacknowledged: it.unacknowledged }
}

fn condition(it: types::Condition) -> Condition {
    let holds = match it.status() {
        types::ConditionStatus::True => Some(true),
        types::ConditionStatus::False => Some(false),
        types::ConditionStatus::Unknown | types::ConditionStatus::Unspecified => None,
    };
    Condition {
        holds,
        kind: it.r#type,
        reason: it.reason,
        message: it.message,
        since: UnixMillis(it.since_ms),
    }
}

fn setting(it: types::EffectiveSetting) -> Option<EffectiveSetting> {
    let origin = match it.origin() {
        types::SettingOrigin::Unspecified => return None,
        types::SettingOrigin::Default => Origin::Default,
        types::SettingOrigin::ControlPlane => Origin::ControlPlane,
        types::SettingOrigin::Configuration => Origin::Configuration,
        types::SettingOrigin::Lock => Origin::Lock,
    };
    let desired = Some(it.desired).filter(|desired| !desired.is_empty());
    Some(EffectiveSetting { key: it.key, value: it.value, origin, desired })
}

pub(super) fn pause(it: pb::PauseStatus) -> Option<Pause> {
    let until = it.until_time.map(time);
    Some(Pause { reason: it.reason, since: time(it.since_time?), until, uid: it.uid })
}

pub(super) fn log(it: pb::LogStatus) -> Log {
    Log { level: it.level, until: it.until_time.map(time), overridden: it.overridden }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_api::{status::tests::healthy, wire};

    #[test]
    fn a_status_comes_over_the_wire_as_it_is() {
        let mut sent = healthy();
        sent.items[0].reason = Some(Reason::DiskFull);
        sent.pause = Some(Pause {
            reason: "why".to_owned(),
            since: UnixMillis(1_234),
            until: Some(UnixMillis(5)),
            uid: 9,
        });
        sent.session.next_try = Some(UnixMillis(77));
        assert_eq!(status(wire::status(sent.clone(), UnixMillis(99))), Some(sent));
    }

    #[test]
    fn an_empty_answer_is_none() {
        assert_eq!(status(pb::AgentStatus::default()), None);
    }
}
