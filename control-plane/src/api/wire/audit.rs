//! Audit entries and checkpoints.

use bytes::Bytes;
use muster_domain::audit::{Checkpoint, Entry, Filter, Placed, Record, line};
use muster_proto::admin::v1 as pb;

use super::{timestamp, timestamp_from};

pub(in crate::api) fn entry((place, entry): &Placed<Entry>) -> pb::AuditEntry {
    let (stamp, note) = (&entry.stamp, &entry.note);
    pb::AuditEntry {
        replica: entry.replica.clone(),
        seq: entry.seq,
        time: Some(timestamp(stamp.at)),
        actor: stamp.actor.clone(),
        action: stamp.action.clone(),
        subject: note.subject.clone(),
        before: note.before.clone(),
        after: note.after.clone(),
        remote_address: stamp.remote_address.clone(),
        trace_id: stamp.trace_id.clone(),
        denied: note.denied,
        hash: Bytes::copy_from_slice(entry.hash.as_bytes()),
        previous_hash: Bytes::copy_from_slice(entry.previous.as_bytes()),
        place: *place,
    }
}

pub(in crate::api) fn checkpoint((place, checkpoint): Placed<Checkpoint>) -> pb::AuditCheckpoint {
    let record = (place, Record::Checkpoint(checkpoint.clone()));
    pb::AuditCheckpoint {
        trust_domain: checkpoint.trust_domain,
        replica: checkpoint.replica,
        seq: checkpoint.seq,
        hash: Bytes::copy_from_slice(checkpoint.hash.as_bytes()),
        time: Some(timestamp(checkpoint.at)),
        key_id: Bytes::copy_from_slice(checkpoint.key_id.as_bytes()),
        signature: checkpoint.signature.into(),
        place,
        line: line::write(&record),
    }
}

pub(in crate::api) fn filter_of_list(request: pb::ListAuditEntriesRequest) -> Filter {
    Filter {
        subject: request.subject,
        actor: request.actor,
        action_prefix: request.action_prefix,
        denied_only: request.denied_only,
        replica: request.replica,
        since: request.since.as_ref().map(timestamp_from),
        until: request.until.as_ref().map(timestamp_from),
    }
}

pub(in crate::api) fn filter_of_watch(request: pb::WatchAuditEntriesRequest) -> Filter {
    Filter {
        subject: request.subject,
        actor: request.actor,
        action_prefix: request.action_prefix,
        denied_only: request.denied_only,
        replica: request.replica,
        since: request.since.as_ref().map(timestamp_from),
        until: None,
    }
}
