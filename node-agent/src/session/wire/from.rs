//! From the control plane.

use std::time::Duration;

use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation, sealing::Sealed};
use muster_proto::{
    agent::v1::{self as pb, desired_item::Body as ItemBody, session_response::Kind},
    types::v1 as types,
};

use crate::{
    session::frames::{Ack, Body, Desired, Inbound, Need, Reconnect, Tune, Welcome},
    state::{ItemVersion, Offer, Removal, Ticket},
};

/// Bounds on what is taken from the control plane.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const MESSAGE: usize = 256 * 1024;
const SMALLEST_MESSAGE: usize = 64 * 1024;

/// A message.
#[must_use]
pub fn inbound(message: pb::SessionResponse) -> Inbound {
    let session = message.session_id.parse().ok();
    let body = message.kind.and_then(body).unwrap_or(Body::Unknown);
    Inbound { session, body }
}

fn body(kind: Kind) -> Option<Body> {
    Some(match kind {
        Kind::Welcome(message) => Body::Welcome(Box::new(welcome(message))),
        Kind::DesiredState(message) => Body::Desired(desired(message)),
        Kind::Command(message) => {
            let credit = message.output_credit_bytes;
            Body::Command { ticket: Box::new(ticket(message)?), credit }
        }
        Kind::Cancel(message) => Body::Cancel(message.command_id.parse().ok()?, message.force),
        Kind::Ack(message) => Body::Ack(ack(message)),
        Kind::ReportRequest(message) => Body::Need(need(message)),
        Kind::Tune(message) => Body::Tune(tune(message)),
        Kind::TrustBundle(message) => {
            let ders = |ders: Vec<bytes::Bytes>| ders.iter().map(|der| der.to_vec()).collect();
            Body::TrustBundle {
                version: message.version,
                roots_der: ders(message.roots_der),
                issuers_der: ders(message.issuers_der),
            }
        }
        Kind::Renew(message) => Body::Renew(wait(message.spread_ms)),
        Kind::Quarantine(message) => Body::Quarantine(format!("{}: {}", message.reason, message.message)),
        Kind::Reconnect(message) => Body::Reconnect(Reconnect {
            after: wait(message.after_ms),
            spread: wait(message.spread_ms),
            addresses: message.addresses,
            reason: message.reason,
        }),
        Kind::Removed(message) => Body::Removed(message.reason),
    })
}

fn welcome(message: pb::Welcome) -> Welcome {
    let limits = message.limits.unwrap_or_default();
    Welcome {
        epoch: message.epoch,
        server_time: UnixMillis(message.server_time_ms),
        tune: tune(message.tune.unwrap_or_default()),
        max_message_bytes: match usize::try_from(limits.max_message_bytes).unwrap_or(usize::MAX) {
            0 => MESSAGE,
            bytes => bytes.max(SMALLEST_MESSAGE),
        },
        max_output_bytes: u64::from(limits.max_output_bytes_per_command),
        need: need(message.needs.unwrap_or_default()),
        display_name: message.display_name,
        withdrawn: message.withdrawn_command_ids.iter().filter_map(|id| id.parse().ok()).collect(),
    }
}

/// A rhythm within bounds: a broken control plane must not make a host spin or fall silent.
fn tune(message: pb::Tune) -> Tune {
    let heartbeat_interval = match message.heartbeat_interval_ms {
        0 => Duration::from_secs(15),
        interval => millis(interval).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
    };
    let reconnect_min = millis(message.reconnect_min_ms).clamp(SHORTEST_INTERVAL, LONGEST_WAIT);
    Tune {
        heartbeat_interval,
        heartbeat_jitter: millis(message.heartbeat_jitter_ms).min(heartbeat_interval / 2),
        reconnect_min,
        reconnect_max: millis(message.reconnect_max_ms).clamp(reconnect_min, LONGEST_WAIT),
        display_name: message.display_name,
    }
}

const fn need(message: pb::ReportRequest) -> Need {
    Need { facts: message.facts, items: message.items }
}

/// Items that are malformed are left out; the next heartbeat's hash tells that they are missing.
fn desired(message: pb::DesiredState) -> Desired {
    let removal = |one: pb::Removal| {
        let generation = Generation::new(one.epoch, one.generation);
        Removal { item: one.item, generation, traceparent: one.traceparent }
    };
    Desired {
        nonce: message.nonce,
        offers: message.upserts.into_iter().filter_map(offer).collect(),
        removals: message.removals.into_iter().map(removal).collect(),
    }
}

fn offer(item: pb::DesiredItem) -> Option<Offer> {
    let version = version(item.version?)?;
    let payload = match item.body? {
        ItemBody::Payload(payload) => payload.to_vec(),
        ItemBody::Blob(_) => return None, // not among this agent's capabilities
    };
    let sealed = item.sealed.map(|sealed| Sealed {
        encapsulated_key: sealed.encapsulated_key.to_vec(),
        ciphertext: sealed.ciphertext.to_vec(),
    });
    Some(Offer { item: item.item, version, payload, sealed, traceparent: item.traceparent })
}

fn version(version: types::ItemVersion) -> Option<ItemVersion> {
    Some(ItemVersion {
        generation: Generation::new(version.epoch, version.generation),
        version: version.version,
        sha256: Sha256::from_slice(&version.sha256)?,
    })
}

fn ticket(message: pb::Command) -> Option<Ticket> {
    let at = |millis: i64| (millis != 0).then_some(UnixMillis(millis));
    Some(Ticket {
        id: message.id.parse().ok()?,
        operation: message.operation_id.parse().ok()?,
        kind: message.kind,
        args: message.args.to_vec(),
        not_before: at(message.not_before_ms),
        deliver_by: UnixMillis(message.deliver_by_ms),
        finish_by: at(message.finish_by_ms),
        lane: message.lane,
        trace: message.trace_id,
        traceparent: message.traceparent,
        came: None,
        epoch: message.epoch,
    })
}

fn ack(message: pb::ReportAck) -> Ack {
    let command =
        |ack: pb::CommandAck| Some((ack.command_id.parse().ok()?, ack.seq, ack.output_credit_bytes));
    Ack { items_seq: message.items_seq, commands: message.commands.into_iter().filter_map(command).collect() }
}

/// A host that is told to stay away comes back all the same.
fn wait(millis: u32) -> Duration {
    self::millis(millis).min(LONGEST_WAIT)
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(u64::from(millis))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_rhythm_without_bounds_is_brought_within_them() {
        let wild =
            pb::Tune { heartbeat_interval_ms: 1, heartbeat_jitter_ms: u32::MAX, ..pb::Tune::default() };
        let tame = tune(wild);
        assert_eq!(tame.heartbeat_interval, SHORTEST_INTERVAL);
        assert!(tame.heartbeat_jitter <= tame.heartbeat_interval / 2);
        assert!(tame.reconnect_min >= SHORTEST_INTERVAL && tame.reconnect_max >= tame.reconnect_min);
        assert_eq!(tune(pb::Tune::default()).heartbeat_interval, Duration::from_secs(15));
    }

    #[test]
    fn waits_and_sizes_without_bounds_are_brought_within_them() {
        let of = |kind| inbound(pb::SessionResponse { session_id: String::new(), kind: Some(kind) }).body;
        let away = pb::Reconnect { after_ms: u32::MAX, spread_ms: u32::MAX, ..pb::Reconnect::default() };
        let Body::Reconnect(reconnect) = of(Kind::Reconnect(away)) else { panic!("another kind") };
        assert_eq!((reconnect.after, reconnect.spread), (LONGEST_WAIT, LONGEST_WAIT));
        assert_eq!(
            of(Kind::Renew(pb::Renew { spread_ms: u32::MAX, ..pb::Renew::default() })),
            Body::Renew(LONGEST_WAIT)
        );
        let endless =
            pb::Tune { reconnect_min_ms: u32::MAX, reconnect_max_ms: u32::MAX, ..pb::Tune::default() };
        assert_eq!(
            (tune(endless.clone()).reconnect_min, tune(endless).reconnect_max),
            (LONGEST_WAIT, LONGEST_WAIT)
        );
        let bytes = |max_message_bytes| {
            let limits = Some(pb::Limits { max_message_bytes, ..pb::Limits::default() });
            welcome(pb::Welcome { limits, ..pb::Welcome::default() }).max_message_bytes
        };
        assert_eq!((bytes(0), bytes(1), bytes(1 << 20)), (MESSAGE, SMALLEST_MESSAGE, 1 << 20));
    }

    #[test]
    fn a_message_of_a_kind_that_came_later_is_passed_over() {
        let mut bytes = pb::SessionResponse { session_id: "s".to_owned(), kind: None }.encode_to_vec();
        // A field with the number 900, which no release knows: three bytes.
        bytes.extend([0xa2, 0x38, 0x03, b'n', b'e', b'w']);
        let message = pb::SessionResponse::decode(bytes.as_slice()).expect("unknown fields are no error");
        assert_eq!(message.session_id, "s");
        assert_eq!(inbound(message).body, Body::Unknown);
    }

    #[test]
    fn malformed_parts_are_passed_over() {
        let command = pb::Command { id: "no id".to_owned(), ..pb::Command::default() };
        let of = |kind| inbound(pb::SessionResponse { session_id: String::new(), kind: Some(kind) }).body;
        assert_eq!(of(Kind::Command(command)), Body::Unknown);
        let item = pb::DesiredItem { item: "bundle/a".to_owned(), ..pb::DesiredItem::default() };
        let state = pb::DesiredState { upserts: vec![item], ..pb::DesiredState::default() };
        assert!(matches!(of(Kind::DesiredState(state)), Body::Desired(desired) if desired.offers.is_empty()));
    }
}
