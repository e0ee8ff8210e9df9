//! The authority and revocations as operators see them.

use bytes::Bytes;
use muster_common::tls::pin;
use muster_domain::{
    authority::{Authority, Holders, Nodes, Phase, Progress, Slot},
    revocation::Revocation,
};
use muster_proto::admin::v1 as pb;

use super::timestamp;

/// Names in one answer; the rest is a number.
const NAMED: usize = 100;

pub(in crate::api) fn authority(authority: &Authority, progress: &Progress) -> pb::Authority {
    let phase = match authority.phase() {
        Phase::Steady => pb::AuthorityPhase::Steady,
        Phase::Prepared => pb::AuthorityPhase::Prepared,
        Phase::Activated => pb::AuthorityPhase::Activated,
    };
    pb::Authority {
        phase: phase as i32,
        trust_bundle_version: authority.bundle_version,
        slots: authority.slots.iter().map(slot).collect(),
        progress: Some(self::progress(progress)),
    }
}

fn slot(slot: &Slot) -> pb::AuthoritySlot {
    let pin = pin::of_certificate(&slot.root_der);
    pb::AuthoritySlot {
        number: slot.number,
        standing: slot.standing.as_str().to_owned(),
        root_of: slot.root_of,
        root_sha256: pin.map(|pin| Bytes::copy_from_slice(pin.as_bytes())).unwrap_or_default(),
        external: slot.external,
        expire_time: Some(timestamp(slot.not_after)),
        create_time: Some(timestamp(slot.created_at)),
        change_time: Some(timestamp(slot.changed_at)),
        root_der: Bytes::copy_from_slice(&slot.root_der),
        issuing_der: Bytes::copy_from_slice(&slot.issuing_der),
    }
}

fn progress(progress: &Progress) -> pb::AuthorityProgress {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let count = |nodes: &Nodes| number(nodes.count);
    let callers = |holders: &Holders| holders.callers.iter().take(NAMED).cloned().collect();
    let named = |nodes: &Nodes| nodes.first.iter().take(NAMED).map(ToString::to_string).collect();
    pb::AuthorityProgress {
        connected_nodes: number(progress.live),
        unacknowledged: count(&progress.unacknowledged),
        unacknowledged_node_ids: named(&progress.unacknowledged),
        on_previous: count(&progress.on_previous.live),
        on_previous_node_ids: named(&progress.on_previous.live),
        absent_on_previous: count(&progress.on_previous.absent),
        absent_on_previous_node_ids: named(&progress.on_previous.absent),
        callers_on_previous: callers(&progress.on_previous),
        on_next: count(&progress.on_next.live),
        on_next_node_ids: named(&progress.on_next.live),
        absent_on_next: count(&progress.on_next.absent),
        absent_on_next_node_ids: named(&progress.on_next.absent),
        callers_on_next: callers(&progress.on_next),
    }
}

pub(in crate::api) fn revocation(revocation: &Revocation) -> pb::Revocation {
    pb::Revocation {
        subject: revocation.subject.to_string(),
        reason: revocation.reason.clone(),
        time: Some(timestamp(revocation.at)),
        revoked_by: revocation.by.clone(),
    }
}
