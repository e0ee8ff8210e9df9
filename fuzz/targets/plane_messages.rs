//! T-F1: messages of a session as an agent reads them, and the payloads and
//! orders in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_node_agent::{
    applier::fuzz::settings,
    commands::fuzz::order,
    session::{frames::Body, wire::inbound},
};
use muster_proto::{
    agent::v1::{self as pb, session_response::Kind},
    types::v1 as types,
};
use prost::Message as _;

fuzz_target!(init: muster_fuzz::seeds("plane_messages", seeds), |input: &[u8]| {
    let Ok(message) = pb::SessionResponse::decode(input) else { return };
    match inbound(message).body {
        Body::Welcome(welcome) => {
            assert!(welcome.max_message_bytes >= 64 * 1024);
            tuned(&welcome.tune);
        }
        Body::Tune(tune) => tuned(&tune),
        Body::Desired(desired) => drop(desired.offers.iter().map(|it| settings(&it.payload)).max()),
        Body::Command { ticket, .. } => drop(order(&ticket.kind, &ticket.args)),
        Body::Reconnect(away) => assert!(away.after.as_secs() <= 3600 && away.spread.as_secs() <= 3600),
        _ => {}
    }
});

fn tuned(tune: &muster_node_agent::session::frames::Tune) {
    assert!(tune.heartbeat_jitter <= tune.heartbeat_interval / 2);
    assert!(tune.reconnect_min <= tune.reconnect_max && !tune.heartbeat_interval.is_zero());
}

const ID: &str = "018f4e9c-7d5c-7a3b-8f6e-2d1c0b9a8f7e";

fn said(kind: Kind) -> Vec<u8> {
    pb::SessionResponse { session_id: ID.to_owned(), kind: Some(kind) }.encode_to_vec()
}

fn seeds() -> [Vec<u8>; 6] {
    let tune = pb::Tune { heartbeat_interval_ms: 15_000, heartbeat_jitter_ms: 1500, ..Default::default() };
    let welcome = pb::Welcome {
        epoch: 1,
        protocol: 1,
        tune: Some(tune.clone()),
        limits: Some(pb::Limits { max_message_bytes: 262_144, max_output_bytes_per_command: 1 }),
        ..Default::default()
    };
    let version =
        types::ItemVersion { epoch: 1, generation: 7, version: "7".to_owned(), sha256: vec![7; 32].into() };
    let payload = br#"{"facts-interval":"20s"}"#.to_vec();
    let item = pb::DesiredItem {
        item: "settings".to_owned(),
        version: Some(version),
        body: Some(pb::desired_item::Body::Payload(payload.into())),
        sealed: Some(pb::SealedContents {
            encapsulated_key: vec![7; 32].into(),
            ciphertext: vec![9; 48].into(),
        }),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
    };
    let removal =
        pb::Removal { item: "bundle/old".to_owned(), epoch: 1, generation: 9, ..Default::default() };
    let desired = pb::DesiredState {
        complete: true,
        upserts: vec![item],
        removals: vec![removal],
        ..Default::default()
    };
    let script = types::RunScript {
        script: "uptime".to_owned(),
        interpreter: vec!["/bin/sh".to_owned()],
        environment: [("A".to_owned(), "1".to_owned())].into_iter().collect(),
        arguments: vec!["-v".to_owned()],
        working_directory: "/srv".to_owned(),
        user: "app".to_owned(),
        limits: Some(types::ScriptLimits { memory_bytes: 1 << 26, tasks: 20, cpu_percent: 50 }),
        survive_restart: true,
    };
    let command = pb::Command {
        id: ID.to_owned(),
        operation_id: ID.to_owned(),
        kind: "run-script".to_owned(),
        args: script.encode_to_vec().into(),
        output_credit_bytes: 65_536,
        ..Default::default()
    };
    let ack = pb::CommandAck { command_id: ID.to_owned(), seq: 3, output_credit_bytes: 100 };
    [
        said(Kind::Welcome(welcome)),
        said(Kind::Tune(tune)),
        said(Kind::DesiredState(desired)),
        said(Kind::Command(command)),
        said(Kind::Ack(pb::ReportAck { items_seq: 1, commands: vec![ack] })),
        said(Kind::Reconnect(pb::Reconnect { after_ms: 5, spread_ms: 9, ..Default::default() })),
    ]
}
