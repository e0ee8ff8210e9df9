//! T-F2: a session as an agent lives it: any sequence of messages against its
//! machine and what it still has to tell.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use muster_common::{clock::UnixMillis, ids::CommandId};
use muster_node_agent::{
    session::{frames::OpenCommand, fuzz::Session, wire::inbound},
    state::{CommandState, Report},
};
use muster_proto::agent::v1::{self as pb, session_response::Kind};

/// A message, or a report of the host.
#[derive(Debug, Arbitrary)]
struct Event {
    session: u8,
    what: What,
}

#[derive(Debug, Arbitrary)]
enum What {
    Welcome { interval: u32, jitter: u32, min: u32, max: u32, message: u32 },
    Desired(Vec<(u8, u64)>),
    Command { id: u8, credit: u32, not_before: i64 },
    Cancel(u8),
    Ack { items: u64, commands: Vec<(u8, u64, u32)> },
    Request(bool, bool),
    Tune { interval: u32, jitter: u32, min: u32, max: u32 },
    Roots(u64, Vec<u8>),
    Renew(u32),
    Quarantine,
    Reconnect(u32, u32),
    Removed,
    Nothing,
    Report { id: u8, seq: u64, acked: u64 },
}

fuzz_target!(init: muster_fuzz::seeds("agent_session", || [0, 1, 2].map(|n: u8| vec![n; 64])), |events: Vec<Event>| {
    let mut session = Session::greeted(&[]);
    for event in events.into_iter().take(256) {
        if let What::Report { id, seq, acked } = event.what {
            let open = OpenCommand { id: command(id), state: CommandState::Running, acked, last: seq };
            session.tell(&open, &Report::new(seq, CommandState::Running, UnixMillis(0)));
            continue;
        }
        let session_id = match event.session % 4 {
            0 => String::new(),
            n => CommandId::from_u128(u128::from(n)).to_string(),
        };
        if !session.hear(inbound(pb::SessionResponse { session_id, kind: kind(event.what) })) {
            break;
        }
    }
});

fn command(n: u8) -> CommandId {
    CommandId::from_u128(u128::from(n % 4))
}

fn kind(what: What) -> Option<Kind> {
    let name = |id: u8| command(id).to_string();
    Some(match what {
        What::Welcome { interval, jitter, min, max, message } => Kind::Welcome(pb::Welcome {
            tune: Some(tune(interval, jitter, min, max)),
            limits: Some(pb::Limits { max_message_bytes: message, ..Default::default() }),
            ..Default::default()
        }),
        What::Desired(items) => Kind::DesiredState(pb::DesiredState {
            removals: items.into_iter().map(removal).collect(),
            ..Default::default()
        }),
        What::Command { id, credit, not_before } => Kind::Command(pb::Command {
            id: name(id),
            operation_id: name(0),
            not_before_ms: not_before,
            output_credit_bytes: credit,
            ..Default::default()
        }),
        What::Cancel(id) => Kind::Cancel(pb::Cancel { command_id: name(id), ..Default::default() }),
        What::Ack { items, commands } => {
            let ack =
                |(id, seq, credit)| pb::CommandAck { command_id: name(id), seq, output_credit_bytes: credit };
            Kind::Ack(pb::ReportAck { items_seq: items, commands: commands.into_iter().map(ack).collect() })
        }
        What::Request(facts, items) => Kind::ReportRequest(pb::ReportRequest { facts, items }),
        What::Tune { interval, jitter, min, max } => Kind::Tune(tune(interval, jitter, min, max)),
        What::Roots(version, der) => {
            Kind::TrustBundle(pb::TrustBundle { version, roots_der: vec![der.into()], ..Default::default() })
        }
        What::Renew(spread_ms) => Kind::Renew(pb::Renew { spread_ms, ..Default::default() }),
        What::Quarantine => Kind::Quarantine(pb::Quarantine::default()),
        What::Reconnect(after_ms, spread_ms) => {
            Kind::Reconnect(pb::Reconnect { after_ms, spread_ms, ..Default::default() })
        }
        What::Removed => Kind::Removed(pb::Removed::default()),
        What::Nothing | What::Report { .. } => return None,
    })
}

fn removal((item, generation): (u8, u64)) -> pb::Removal {
    pb::Removal { item: format!("bundle/b{item}"), epoch: 1, generation, ..Default::default() }
}

fn tune(interval: u32, jitter: u32, min: u32, max: u32) -> pb::Tune {
    pb::Tune {
        heartbeat_interval_ms: interval,
        heartbeat_jitter_ms: jitter,
        reconnect_min_ms: min,
        reconnect_max_ms: max,
        ..Default::default()
    }
}
