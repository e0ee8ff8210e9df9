//! Events.

use std::collections::BTreeSet;

use muster_common::ids::NodeId;
use muster_domain::event::{Event, Filter, Kind};
use muster_proto::admin::v1 as pb;
use tonic::Status;

use super::{alert, id, timestamp, timestamp_from};
use crate::api::status::invalid;

/// What a request asks for, as far as no groups are needed to know it.
#[derive(Debug)]
pub(in crate::api) struct Asked {
    /// By what the store knows.
    pub filter: Filter,
    /// As written; empty: of any node, and of none.
    pub selector: String,
}

/// Kinds, by the same names on both sides.
macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        const fn kind(kind: Kind) -> pb::EventKind {
            match kind {
                $(Kind::$name => pb::EventKind::$name,)*
            }
        }
    };
}

kinds! {
    NodeEnrolled, NodeOnline, NodeLate, NodeOffline, NodeExpired, FleetMassLoss, NodeSessionReplaced,
    NodeQuarantined, NodeReleased, AccessDenied, AccessAllowed, JoinApproved, JoinDenied, NodeRenamed,
    NodeLabelled, NodeDisconnected, NodeRemoved, NodeCertificateRenewed, NodeRecovered, AuthorityTurned,
    ItemApplied, ItemRemoved, ItemFailed, ItemRolledBack, ItemRejected, ItemDrifted, AgentUpgraded,
    ReleaseRecommended, OperationStarted, OperationEnded, CommandEnded, RolloutStarted, RolloutStep,
    RolloutPaused, RolloutResumed, RolloutRollingBack, RolloutEnded, RolloutBrake, AlertOpened,
    AlertResolved, ReplicaJoined, ReplicaLeft, ReplicaLost, DatabaseBack, SettingsChanged,
}

pub(in crate::api) fn event(event: &Event) -> pb::Event {
    let many = event.many.as_ref();
    pb::Event {
        id: event.id.to_string(),
        kind: kind(event.kind) as i32,
        severity: alert::severity(event.severity) as i32,
        time: Some(timestamp(event.at)),
        node_id: event.node.map(|node| node.to_string()).unwrap_or_default(),
        subject: event.subject.clone(),
        reason: event.reason.clone(),
        message: event.message.clone(),
        details: event.details.clone(),
        operation_id: event.operation.map(|id| id.to_string()).unwrap_or_default(),
        actor: event.actor.clone(),
        trace_id: event.trace_id.clone(),
        node_count: many.map_or(0, |many| many.count),
        node_ids: many.map(|many| many.nodes.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        last_time: many.map(|many| timestamp(many.until)),
        revision: event.revision,
    }
}

pub(in crate::api) fn asked_of_list(request: &pb::ListEventsRequest) -> Result<Asked, Status> {
    let filter = Filter {
        node: node_from(&request.node_id)?,
        kinds: kinds_from(&request.kinds)?,
        least: least_from(request.severity),
        since: request.since.as_ref().map(timestamp_from),
        until: request.until.as_ref().map(timestamp_from),
    };
    Ok(Asked { filter, selector: request.selector.clone() })
}

pub(in crate::api) fn asked_of_watch(request: &pb::WatchEventsRequest) -> Result<Asked, Status> {
    let filter = Filter {
        node: node_from(&request.node_id)?,
        kinds: kinds_from(&request.kinds)?,
        least: least_from(request.severity),
        since: request.since.as_ref().map(timestamp_from),
        until: None,
    };
    Ok(Asked { filter, selector: request.selector.clone() })
}

fn node_from(text: &str) -> Result<Option<NodeId>, Status> {
    if text.is_empty() { Ok(None) } else { id("node_id", text).map(Some) }
}

fn kinds_from(asked: &[i32]) -> Result<BTreeSet<Kind>, Status> {
    let known = |(at, asked): (usize, &i32)| {
        let found = Kind::ALL.iter().copied().find(|known| kind(*known) as i32 == *asked);
        found.ok_or_else(|| invalid(format!("kinds[{at}]"), "say a kind of event that this release knows"))
    };
    asked.iter().enumerate().map(known).collect()
}

/// Unspecified, or one that this release does not know: any.
fn least_from(severity: i32) -> Option<muster_domain::alert::Severity> {
    match pb::AlertSeverity::try_from(severity) {
        Ok(pb::AlertSeverity::Unspecified) | Err(_) => None,
        Ok(known) => Some(alert::severity_from(known)),
    }
}
