//! Values with something in every field.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{
    digest::Sha256,
    generation::Generation,
    ids::{CommandId, JoinRequestId, JoinTokenId, LedgerId, NodeId, OperationId},
    reason::Reason,
};
use muster_domain::{
    bundle::Bundle,
    certificate::{Issued, Leaf, NodeCertificate},
    command::{Command, State},
    enrolled_with::EnrolledWith,
    facts::{Address, Disk, Facts},
    item::{Cause, ItemError, ItemName, ItemState, ItemVersion, Outcome},
    join_request::{self, JoinRequest},
    join_token::JoinToken,
    labels::Labels,
    liveness::{self, Liveness},
    node::{LedgerMark, Node},
    operation::{Operation, Plan, Preconditions, Supersede, pace::Pacing},
    requestable::Requestable,
    rollout::Share,
    settings::{EffectiveSetting, Origin},
};

use crate::harness::NOW;

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn node(number: u128) -> Node {
    Node {
        id: NodeId::from_u128(number),
        display_name: format!("web-{number}"),
        labels: labels(&[("env", "prod"), ("example.com/role", "web")]),
        facts: facts().into(),
        facts_sha256: [7; 32][..].into(),
        liveness: Liveness { state: liveness::State::NeverSeen, since: NOW, reason: "Enrolled".into() },
        items: vec![item("bundle/motd"), item("settings")],
        certificate: NodeCertificate { current: issued(1), next: None },
        enrolled_key_sha256: Some(Box::new(Sha256::of(&number.to_be_bytes()).as_bytes()[..].into())),
        machine_fingerprint: [1, 2, 3][..].into(),
        enrolled_with: if number.is_multiple_of(2) {
            JoinTokenId::from_u128(5).into()
        } else {
            EnrolledWith::Oidc("ci".into())
        },
        created_at: NOW,
        ledger: Some(LedgerMark { id: LedgerId::from_u128(6), seq: 99 }),
        trust_bundle_version: 0,
        recoveries: 0,
        touches: Vec::new(),
        accepted: None,
        own_since: muster_common::clock::UnixMillis(0),
        quarantine: None,
        kept: None,
        selector_revision: 0,
        revision: 0,
    }
}

pub(crate) fn facts() -> Facts {
    Facts {
        hostname: "web-1".into(),
        os: "debian".into(),
        os_version: "12".into(),
        kernel: "6.1".into(),
        architecture: "x86_64".into(),
        cpu_model: "A \"fast\" one".into(),
        cpu_count: 2,
        memory_bytes: u64::MAX,
        disks: vec![Disk { mount_point: "/".into(), file_system: "ext4".into(), size_bytes: 1 << 40 }],
        addresses: vec![Address { interface: "eth0".into(), address: "192.0.2.7".into() }],
        machine_id: "m".into(),
        boot_id: "b".into(),
        agent_version: "0.1.0".into(),
        timezone: "Europe/Berlin".into(),
        settings: vec![
            EffectiveSetting {
                key: "facts-interval".into(),
                value: "1m".into(),
                origin: Some(Origin::ControlPlane),
                desired: None,
            },
            EffectiveSetting {
                key: "log-level".into(),
                value: "debug".into(),
                origin: Some(Origin::Lock),
                desired: Some("warn".into()),
            },
        ],
    }
}

pub(crate) fn item(name: &str) -> ItemState {
    let version = |number| ItemVersion {
        generation: Generation::new(1, number),
        version: number.to_string(),
        sha256: Sha256::of(name.as_bytes()),
    };
    ItemState {
        item: name.parse().unwrap(),
        running: Some(version(3)),
        attempted: Some(version(4)),
        outcome: Some(Outcome::RolledBack),
        error: Some(ItemError {
            reason: Some(Reason::InvalidArgument),
            cause: Some(Cause::Content),
            message: "validate said no: ü".into(),
            output: "line\nline".into(),
        }),
        changed_at: NOW,
        drift: Vec::new(),
        progress: None,
        health: None,
    }
}

pub(crate) fn item_name(name: &str) -> ItemName {
    name.parse().unwrap()
}

pub(crate) fn issued(generation: u64) -> Issued {
    Issued {
        serial: format!("{generation:02x}").into(),
        generation,
        issuer: 2,
        not_before: NOW,
        not_after: NOW + Duration::from_secs(604_800),
        leaf: Some(Box::new(Leaf { key_sha256: vec![9; 32], der: (0..=255).collect() })),
    }
}

pub(crate) fn join_token(number: u128, max_uses: u32) -> JoinToken {
    JoinToken {
        id: JoinTokenId::from_u128(number),
        description: "rack 7".into(),
        secret_sha256: Sha256::of(&number.to_be_bytes()).as_bytes().to_vec(),
        labels: labels(&[("rack", "7")]),
        max_uses,
        uses: 0,
        created_at: NOW,
        expires_at: NOW + Duration::from_secs(3600),
        revoked_at: None,
        allowed: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        require_approval: number.is_multiple_of(2),
        requestable: Requestable::read("x", &["rack".into(), "dc=eu-*".into()]).unwrap(),
    }
}

/// Of the token with this number.
pub(crate) fn join_request(number: u128, token: u128) -> JoinRequest {
    JoinRequest {
        id: JoinRequestId::from_u128(number),
        token: JoinTokenId::from_u128(token),
        key_sha256: Sha256::of(&number.to_be_bytes()).as_bytes().to_vec(),
        display_name: "web 1".into(),
        hostname: "web-1".into(),
        machine_fingerprint: vec![7; 32],
        requested_labels: labels(&[("dc", "eu-1")]),
        remote_address: "192.0.2.9".into(),
        created_at: NOW,
        expires_at: NOW + Duration::from_secs(3600),
        state: join_request::State::Pending,
        decided_at: None,
        decided_by: String::new(),
    }
}

pub(crate) fn bundle(name: &str, version: u64, payload: &[u8]) -> Bundle {
    Bundle {
        name: name.into(),
        version,
        sha256: Sha256::of(payload),
        size_bytes: payload.len() as u64,
        created_at: NOW,
        created_by: "operator/alice".into(),
    }
}

pub(crate) fn operation(number: u128) -> Operation {
    Operation {
        id: OperationId::from_u128(number),
        selector: "env=prod".into(),
        kind: "run-script".into(),
        args: vec![0, 255, 1],
        request_id: Some(format!("request-{number}")),
        request_sha256: vec![3; 32],
        created_by: "operator/alice".into(),
        created_at: NOW,
        not_before: Some(NOW),
        deliver_by: NOW + Duration::from_secs(60),
        run_timeout: Duration::from_millis(1500),
        cancel_requested: false,
        ended_at: None,
        total: 3,
        trace_id: "trace".into(),
        traceparent: "00-trace-span-01".into(),
        lane: "db".into(),
        output_limit: 1000,
        schedule: "nightly".into(),
        plan: plan(number),
        retry_of: number.is_multiple_of(2).then(|| OperationId::from_u128(1)),
        cancel_forced: false,
    }
}

/// Operations with even numbers have one with something in every field.
fn plan(number: u128) -> Plan {
    if !number.is_multiple_of(2) {
        return Plan::default();
    }
    Plan {
        pacing: Pacing {
            limit: Some(20),
            ramp_start: Some(1),
            max_failures: Some(Share::Percent(5)),
            order_by_label: Some("rack".into()),
        },
        preconditions: Preconditions {
            selector: "env=prod,!@canary".into(),
            agent_version_min: "1.2.3".into(),
            capabilities: vec!["run-script".into()],
        },
        supersede: Some(Supersede { key: "deploy \"web\"".into(), stop_running: true }),
        lease: Some("reboots".into()),
    }
}

pub(crate) fn command(number: u128, operation: u128, node: u128) -> Command {
    Command {
        id: CommandId::from_u128(number),
        operation: OperationId::from_u128(operation),
        node: NodeId::from_u128(node),
        state: State::Queued,
        exit_code: None,
        signal: None,
        reason: None,
        message: String::new(),
        result: Vec::new(),
        cancel_requested: false,
        cancel_forced: false,
        report_seq: 0,
        output_bytes: 0,
        stderr_bytes: 0,
        dropped_bytes: 0,
        created_at: NOW,
        updated_at: NOW,
        ended_at: None,
        deliver_by: NOW + Duration::from_secs(60),
        retry_of: None,
    }
}

pub(crate) fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels(pairs).into_iter().collect()
}
