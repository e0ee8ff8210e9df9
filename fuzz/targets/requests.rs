//! T-F1: every request of operators, strangers and nodes, from its bytes to what
//! a use-case would get. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_control_plane::api::fuzz::REQUESTS;
use muster_proto::{admin::v1 as pb, agent::v1 as agent, types::v1 as types};
use prost::Message as _;

fuzz_target!(init: muster_fuzz::seeds("requests", seeds), |input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    if let Some((_, parse)) = REQUESTS.get(usize::from(*which)) {
        parse(bytes);
    }
});

fn seed(name: &str, request: Vec<u8>) -> Vec<u8> {
    let which = REQUESTS.iter().position(|(known, _)| *known == name).expect("a request");
    [&[u8::try_from(which).expect("fewer than 256 requests")], request.as_slice()].concat()
}

fn seeds() -> [Vec<u8>; 11] {
    let labels = [("env".to_owned(), "prod".to_owned())].into_iter().collect();
    let hour = Some(prost_types::Duration { seconds: 3600, nanos: 5 });
    let token = pb::CreateJoinTokenRequest {
        description: "rack 7".to_owned(),
        labels,
        max_uses: 3,
        ttl: hour,
        allowed_cidrs: vec!["192.0.2.0/24".to_owned(), "2001:db8::1".to_owned()],
        requestable_labels: vec!["rack".to_owned(), "dc=eu-*".to_owned()],
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
    let start = pb::StartOperationRequest {
        selector: "env=prod,role in (web,api)".to_owned(),
        spec: Some(types::CommandSpec { kind: Some(types::command_spec::Kind::RunScript(script)) }),
        request_id: "r-1".to_owned(),
        not_before: Some(prost_types::Timestamp { seconds: 1_700_000_100, nanos: 7 }),
        deliver_within: hour,
        run_timeout: hour,
        ..Default::default()
    };
    let schedule = pb::Schedule {
        name: "nightly".to_owned(),
        cron: "*/5 3-5 * jan,7 mon".to_owned(),
        time_zone: "host".to_owned(),
        operation: Some(pb::StartOperationRequest {
            request_id: String::new(),
            not_before: None,
            lane: "db".to_owned(),
            ..start.clone()
        }),
        catch_up: hour,
        ..Default::default()
    };
    let schedule = pb::CreateScheduleRequest { schedule: Some(schedule), validate_only: false };
    let assignment = pb::Assignment {
        name: "app".to_owned(),
        selector: "canary,!old,facts.os=debian".to_owned(),
        target: Some(pb::assignment::Target::Bundle(pb::BundleTarget { name: "app".to_owned(), version: 3 })),
        priority: 5,
        ..Default::default()
    };
    let node = pb::Node { id: ID.to_owned(), display_name: "web-1".to_owned(), ..Default::default() };
    let mask = prost_types::FieldMask { paths: vec!["display_name".to_owned(), "labels".to_owned()] };
    let csr = muster_fuzz_csr();
    let list = pb::ListNodesRequest { selector: "*".to_owned(), page_size: 10, ..Default::default() };
    let revoke = pb::RevokeRequest { subject: "serial/0a1b".to_owned(), ..Default::default() };
    let profile = pb::SettingsProfile {
        name: "p".to_owned(),
        values: [("facts-interval".to_owned(), "2m 30s".to_owned())].into_iter().collect(),
        ..Default::default()
    };
    let put = pb::PutSettingsProfileRequest { profile: Some(profile), ..Default::default() };
    let requested_labels = [("rack".to_owned(), "7".to_owned())].into_iter().collect();
    let (csr_der, token_secret) = (csr.into(), "t".to_owned());
    let enroll =
        agent::EnrollRequest { csr_der, token: token_secret, requested_labels, ..Default::default() };
    let created = pb::CreateAssignmentRequest { assignment: Some(assignment), ..Default::default() };
    let audit = pb::ListAuditEntriesRequest { action_prefix: "nodes.".to_owned(), ..Default::default() };
    let watch = pb::WatchNodesRequest {
        selector: "a=b".to_owned(),
        resume_token: muster_domain::page::ResumeToken { epoch: 1, revision: 7 }.to_string(),
    };
    let update = pb::UpdateNodeRequest { node: Some(node), update_mask: Some(mask), ..Default::default() };
    [
        seed("CreateJoinTokenRequest", token.encode_to_vec()),
        seed("StartOperationRequest", start.encode_to_vec()),
        seed("CreateScheduleRequest", schedule.encode_to_vec()),
        seed("CreateAssignmentRequest", created.encode_to_vec()),
        seed("UpdateNodeRequest", update.encode_to_vec()),
        seed("ListNodesRequest", list.encode_to_vec()),
        seed("RevokeRequest", revoke.encode_to_vec()),
        seed("PutSettingsProfileRequest", put.encode_to_vec()),
        seed("EnrollRequest", enroll.encode_to_vec()),
        seed("ListAuditEntriesRequest", audit.encode_to_vec()),
        seed("WatchNodesRequest", watch.encode_to_vec()),
    ]
}

const ID: &str = "018f4e9c-7d5c-7a3b-8f6e-2d1c0b9a8f7e";

fn muster_fuzz_csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(&key).expect("a request").der().to_vec()
}
