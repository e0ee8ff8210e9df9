//! Alerts, their rules, receivers and silences.

use std::time::Duration;

use muster_common::clock::UnixMillis;
use muster_domain::alert::{
    Alert, Damping, Delivery, Kind, Receiver, Rule, Severity, Silence, State, Subject, Target, is_built_in,
};
use muster_proto::admin::v1 as pb;
use tonic::Status;
use zeroize::Zeroizing;

use super::{duration_from, timestamp, timestamp_from};
use crate::{
    api::status::invalid,
    app::alerts::{ReceiverWish, SilenceWish, Wish},
};

pub(in crate::api) fn rule(rule: &Rule) -> pb::AlertRule {
    let duration =
        |time: Duration| (!time.is_zero()).then(|| prost_types::Duration::try_from(time).ok()).flatten();
    let damping = &rule.damping;
    pb::AlertRule {
        name: rule.name.clone(),
        description: rule.description.clone(),
        kind: kind(rule.kind) as i32,
        selector: rule.selector.clone(),
        threshold: duration(rule.threshold),
        hold: duration(rule.hold),
        severity: severity(rule.severity) as i32,
        receivers: rule.receivers.clone(),
        disabled: rule.disabled,
        damping: Some(pb::AlertDamping {
            nodes: damping.nodes,
            percent: damping.percent,
            within: duration(damping.within),
            by: damping.by.clone(),
        }),
        built_in: is_built_in(&rule.name),
        updated_by: rule.updated_by.clone(),
        create_time: (rule.created_at.0 > 0).then(|| timestamp(rule.created_at)),
        update_time: (rule.updated_at.0 > 0).then(|| timestamp(rule.updated_at)),
        etag: muster_domain::node::etag(rule.revision),
    }
}

pub(in crate::api) fn rule_from(rule: Option<pb::AlertRule>) -> Result<Wish, Status> {
    let rule = rule.ok_or_else(|| invalid("rule", "it is missing"))?;
    let (kind, severity) = (kind_from(rule.kind())?, severity_from(rule.severity()));
    let damping = rule.damping.map(|it| {
        let within = duration_from("rule.damping.within", it.within)?;
        Ok::<_, Status>(Damping {
            nodes: it.nodes,
            percent: it.percent,
            within: within.unwrap_or(Damping::default().within),
            by: it.by,
        })
    });
    Ok(Wish {
        name: rule.name,
        description: rule.description,
        kind,
        selector: rule.selector,
        threshold: duration_from("rule.threshold", rule.threshold)?,
        hold: duration_from("rule.hold", rule.hold)?.unwrap_or_default(),
        severity,
        receivers: rule.receivers,
        disabled: rule.disabled,
        damping: damping.transpose()?,
        etag: rule.etag,
    })
}

const fn kind(kind: Kind) -> pb::AlertKind {
    match kind {
        Kind::NodeOffline => pb::AlertKind::NodeOffline,
        Kind::NodeLate => pb::AlertKind::NodeLate,
        Kind::CertificateExpiry => pb::AlertKind::CertificateExpiry,
        Kind::AuthorityExpiry => pb::AlertKind::AuthorityExpiry,
        Kind::RepositoryExpiry => pb::AlertKind::RepositoryExpiry,
        Kind::ItemFailed => pb::AlertKind::ItemFailed,
        Kind::ItemRejected => pb::AlertKind::ItemRejected,
        Kind::ItemStuck => pb::AlertKind::ItemStuck,
        Kind::Drift => pb::AlertKind::Drift,
        Kind::Quarantine => pb::AlertKind::Quarantine,
        Kind::ClockSkew => pb::AlertKind::ClockSkew,
        Kind::VersionUnsupported => pb::AlertKind::VersionUnsupported,
        Kind::RolloutStopped => pb::AlertKind::RolloutStopped,
        Kind::ReplicaLost => pb::AlertKind::ReplicaLost,
        Kind::DiskNearlyFull => pb::AlertKind::DiskNearlyFull,
    }
}

fn kind_from(asked: pb::AlertKind) -> Result<Kind, Status> {
    let found = Kind::ALL.into_iter().find(|known| kind(*known) == asked);
    found.ok_or_else(|| invalid("rule.kind", "say what is looked for: a kind that this release knows"))
}

pub(super) const fn severity(severity: Severity) -> pb::AlertSeverity {
    match severity {
        Severity::Info => pb::AlertSeverity::Info,
        Severity::Warning => pb::AlertSeverity::Warning,
        Severity::Critical => pb::AlertSeverity::Critical,
    }
}

pub(super) const fn severity_from(severity: pb::AlertSeverity) -> Severity {
    match severity {
        pb::AlertSeverity::Info => Severity::Info,
        pb::AlertSeverity::Unspecified | pb::AlertSeverity::Warning => Severity::Warning,
        pb::AlertSeverity::Critical => Severity::Critical,
    }
}

pub(in crate::api) fn alert(alert: &Alert) -> pb::Alert {
    let state = match alert.state() {
        State::Open => pb::AlertState::Open,
        State::Acknowledged => pb::AlertState::Acknowledged,
        State::Silenced => pb::AlertState::Silenced,
        State::Resolved => pb::AlertState::Resolved,
    };
    let (node_id, is_group) = match &alert.subject {
        Subject::Node(node) => (node.to_string(), false),
        Subject::Group(_) => (String::new(), true),
        Subject::Thing(_) => (String::new(), false),
    };
    let acknowledged = alert.acknowledged.as_ref();
    pb::Alert {
        id: alert.id.to_string(),
        rule: alert.rule.clone(),
        kind: kind(alert.kind) as i32,
        severity: severity(alert.severity) as i32,
        state: state as i32,
        subject: alert.subject.to_string(),
        node_id,
        reason: alert.reason.clone(),
        message: alert.message.clone(),
        since: Some(timestamp(alert.since)),
        open_time: Some(timestamp(alert.opened_at)),
        end_time: alert.ended_at.map(timestamp),
        end_reason: alert.end_reason.clone(),
        node_count: if is_group { alert.count } else { 0 },
        node_ids: alert.nodes.iter().map(ToString::to_string).collect(),
        cause: alert
            .cause
            .as_ref()
            .map(|cause| pb::AlertCause { reason: cause.reason.clone(), message: cause.message.clone() }),
        acknowledged_by: acknowledged.map(|it| it.by.clone()).unwrap_or_default(),
        acknowledge_time: acknowledged.map(|it| timestamp(it.at)),
        acknowledge_comment: acknowledged.map(|it| it.comment.clone()).unwrap_or_default(),
        silence_id: alert.silence.map(|id| id.to_string()).unwrap_or_default(),
        test: alert.is_test,
    }
}

pub(in crate::api) fn silence(silence: &Silence, now: UnixMillis) -> pb::AlertSilence {
    pb::AlertSilence {
        id: silence.id.to_string(),
        rule: silence.rule.clone(),
        selector: silence.selector.clone(),
        start_time: Some(timestamp(silence.starts_at)),
        end_time: Some(timestamp(silence.ends_at)),
        comment: silence.comment.clone(),
        created_by: silence.created_by.clone(),
        create_time: Some(timestamp(silence.created_at)),
        active: silence.is_active(now),
    }
}

pub(in crate::api) fn silence_from(silence: Option<pb::AlertSilence>) -> Result<SilenceWish, Status> {
    let silence = silence.ok_or_else(|| invalid("silence", "it is missing"))?;
    let end = silence.end_time.ok_or_else(|| invalid("silence.end_time", "say when it ends"))?;
    Ok(SilenceWish {
        rule: silence.rule,
        selector: silence.selector,
        starts_at: silence.start_time.as_ref().map(timestamp_from),
        ends_at: timestamp_from(&end),
        comment: silence.comment,
    })
}

pub(in crate::api) fn receiver(receiver: &Receiver) -> pb::AlertReceiver {
    let target = match receiver.target {
        Target::Alertmanager => pb::AlertTarget::Alertmanager,
        Target::Webhook => pb::AlertTarget::Webhook,
    };
    pb::AlertReceiver {
        name: receiver.name.clone(),
        target: target as i32,
        url: receiver.url.clone(),
        secret: String::new(),
        has_secret: receiver.secret.is_some(),
        max_tries: receiver.tries,
        paused: receiver.paused,
        updated_by: receiver.updated_by.clone(),
        create_time: Some(timestamp(receiver.created_at)),
        update_time: Some(timestamp(receiver.updated_at)),
        etag: muster_domain::node::etag(receiver.revision),
    }
}

pub(in crate::api) fn receiver_from(receiver: Option<pb::AlertReceiver>) -> Result<ReceiverWish, Status> {
    let receiver = receiver.ok_or_else(|| invalid("receiver", "it is missing"))?;
    let target = match receiver.target() {
        pb::AlertTarget::Alertmanager => Target::Alertmanager,
        pb::AlertTarget::Webhook => Target::Webhook,
        pb::AlertTarget::Unspecified => {
            return Err(invalid("receiver.target", "say how it is told: an Alertmanager, or a webhook"));
        }
    };
    let secret = (!receiver.secret.is_empty()).then(|| Zeroizing::new(receiver.secret.into_bytes()));
    Ok(ReceiverWish {
        name: receiver.name,
        target,
        url: receiver.url,
        secret,
        tries: receiver.max_tries,
        paused: receiver.paused,
        etag: receiver.etag,
    })
}

pub(in crate::api) fn dead_letter(letter: &Delivery) -> pb::DeadLetter {
    pb::DeadLetter {
        id: letter.id.to_string(),
        receiver: letter.receiver.clone(),
        alert_id: letter.alert.to_string(),
        event: letter.event.as_str().to_owned(),
        create_time: Some(timestamp(letter.created_at)),
        dead_time: letter.dead_at.map(timestamp),
        tries: letter.tries,
        error: letter.error.clone(),
    }
}
