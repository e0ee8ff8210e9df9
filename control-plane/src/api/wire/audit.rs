//! Audit entries.

use bytes::Bytes;
use muster_domain::audit::Entry;
use muster_proto::admin::v1 as pb;

use super::timestamp;

pub(in crate::api) fn entry(entry: &Entry) -> pb::AuditEntry {
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
    }
}
