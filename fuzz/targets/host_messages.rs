//! T-F1: messages of a session as the control plane reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_control_plane::{api::fuzz::heard, session::frames::Inbound};
use muster_proto::{
    agent::v1::{self as pb, session_request::Kind},
    types::v1 as types,
};
use prost::Message as _;

fuzz_target!(init: muster_fuzz::seeds("host_messages", seeds), |input: &[u8]| {
    let Ok(message) = pb::SessionRequest::decode(input) else { return };
    match heard(message) {
        Ok(Inbound::Hello(hello)) => {
            assert!(hello.items.len() <= muster_domain::item::MAX_ITEMS);
            assert!(hello.boot_id.chars().count() <= 256 && hello.capabilities.len() <= 64);
        }
        Ok(Inbound::Items(report)) => assert!(report.items.len() <= muster_domain::item::MAX_ITEMS),
        Ok(Inbound::Facts(report)) => {
            assert!(report.facts.hostname.chars().count() <= 256);
            assert!(report.facts.settings.len() <= 64);
            assert!(report.facts.settings.iter().all(|it| it.value.chars().count() <= 256));
        }
        Ok(_) => {}
        Err(refusal) => assert!(!refusal.message.is_empty()),
    }
});

const ID: &str = "018f4e9c-7d5c-7a3b-8f6e-2d1c0b9a8f7e";

fn said(kind: Kind) -> Vec<u8> {
    pb::SessionRequest { kind: Some(kind) }.encode_to_vec()
}

fn seeds() -> [Vec<u8>; 6] {
    let version =
        types::ItemVersion { epoch: 1, generation: 7, version: "7".to_owned(), sha256: vec![7; 32].into() };
    let error = types::ItemError {
        reason: types::ErrorReason::try_from(1).unwrap_or_default().into(),
        cause: types::FailureCause::Host.into(),
        message: "no".to_owned(),
        output: vec![0xff, b'x'].into(),
    };
    let item = types::ItemState {
        item: "bundle/app".to_owned(),
        running: Some(version.clone()),
        attempted: Some(version),
        outcome: types::ItemOutcome::RolledBack.into(),
        error: Some(error),
        changed_at_ms: 1_700_000_000_000,
        drift: vec![types::ItemDrift {
            path: "/etc/app".to_owned(),
            what: "content".to_owned(),
            before_sha256: vec![1; 32].into(),
            after_sha256: vec![2; 32].into(),
            diff: "-a\n+b\n".to_owned(),
            noticed_at_ms: 1_700_000_000_000,
            ..Default::default()
        }],
        progress: Some(types::ItemProgress {
            step: "probation".to_owned(),
            percent: 50,
            ..Default::default()
        }),
        health: Some(types::ItemHealth { healthy: true, ..Default::default() }),
    };
    let open = pb::OpenCommand {
        id: ID.to_owned(),
        state: types::CommandState::Running.into(),
        ..Default::default()
    };
    let hello = pb::Hello {
        instance_id: ID.to_owned(),
        ledger_id: ID.to_owned(),
        ledger_seq: 3,
        boot_id: "b".to_owned(),
        machine_fingerprint: vec![1; 32].into(),
        protocol_min: 1,
        protocol_max: 1,
        capabilities: vec!["bundle".to_owned()],
        items: vec![item.clone()],
        open_commands: vec![open],
        ..Default::default()
    };
    let facts = types::Facts {
        hostname: "h".to_owned(),
        os: "debian".to_owned(),
        cpu_count: 2,
        disks: vec![types::Disk { mount_point: "/".to_owned(), ..Default::default() }],
        settings: vec![types::EffectiveSetting {
            key: "log-level".to_owned(),
            value: "debug".to_owned(),
            origin: types::SettingOrigin::Lock.into(),
            desired: "warn".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let beat = pb::Heartbeat {
        seq: 1,
        state_hash: vec![0; 32].into(),
        load: Some(pb::Load { cpu_permille: 10, ..Default::default() }),
        conditions: vec![types::Condition { r#type: "ClockOk".to_owned(), status: 1, ..Default::default() }],
        ..Default::default()
    };
    let report = pb::CommandReport {
        command_id: ID.to_owned(),
        seq: 2,
        state: types::CommandState::Running.into(),
        output: Some(pb::OutputChunk { stream: 2, data: vec![b'x'; 5].into(), dropped_bytes: 1 }),
        ..Default::default()
    };
    [
        said(Kind::Hello(hello)),
        said(Kind::Heartbeat(beat)),
        said(Kind::Facts(pb::FactsReport { facts: Some(facts), ..Default::default() })),
        said(Kind::Items(pb::ItemReport { seq: 1, items: vec![item], complete: true, ..Default::default() })),
        said(Kind::Command(report)),
        said(Kind::Goodbye(pb::Goodbye { reason: 2, message: "bye".to_owned() })),
    ]
}
