//! Replicas.

use muster_domain::replica::Replica;
use muster_proto::admin::v1 as pb;

use super::timestamp;

/// As operators see it.
pub(in crate::api) fn replica(replica: Replica) -> pb::Replica {
    pb::Replica {
        name: replica.name,
        version: replica.version,
        start_time: Some(timestamp(replica.started_at)),
        beat_time: Some(timestamp(replica.beat_at)),
        sessions: replica.sessions.cast_signed(),
        revision: replica.revision,
        leads: replica.leads,
        session_addresses: replica.addresses,
    }
}
