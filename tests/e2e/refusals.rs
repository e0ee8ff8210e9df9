//! Refusals that need a situation: each is provoked, and is told with its reason.

use std::{
    process::{ChildStdin, Command, Stdio},
    sync::Arc,
};

use muster_common::{join::JoinString, reason::Reason, tls};
use muster_node_agent::dial;
use muster_proto::{
    admin::v1 as pb,
    agent::v1::{
        self as agent, enrollment_service_client::EnrollmentServiceClient,
        identity_service_client::IdentityServiceClient,
    },
    types::v1::BundleContent,
};
use muster_tests::{
    agent::{Agent, OPEN},
    binaries::repository,
    eventually::LONG,
    operator::{Operator, file, reason},
    plane::{Options, Plane},
    process::Process,
    raw::RawNode,
};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn why(refused: &Status) -> (Code, Option<Reason>) {
    (refused.code(), reason(refused))
}

/// A control plane whose bundle `app` and profile `calm` are given to nodes.
async fn assigned(folder: &std::path::Path) -> (Plane, Operator) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let content =
        BundleContent { files: vec![file(std::path::Path::new("/etc/app"), "x")], ..Default::default() };
    operator.bundle("app", content).await;
    operator.assign("app", "role=web", "app").await;
    let values = [("facts-interval".to_owned(), "30m".to_owned())].into();
    let profile = pb::SettingsProfile { name: "calm".to_owned(), values, ..Default::default() };
    let put = pb::PutSettingsProfileRequest { profile: Some(profile), validate_only: false };
    operator.settings.clone().put_settings_profile(put).await.unwrap();
    let target = pb::SettingsTarget { profile: "calm".to_owned(), version: 0 };
    let target = pb::assignment::Target::Settings(target);
    let assignment = pb::Assignment {
        name: "calm".to_owned(),
        selector: "*".to_owned(),
        target: Some(target),
        ..Default::default()
    };
    let create = pb::CreateAssignmentRequest { assignment: Some(assignment), validate_only: false };
    operator.assignments.clone().create_assignment(create).await.unwrap();
    (plane, operator)
}

#[tokio::test]
async fn a_write_from_an_older_reading_is_refused_and_one_from_the_newest_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, operator) = assigned(folder.path()).await;
    let stale = (Code::Aborted, Some(Reason::EtagMismatch));
    let id = RawNode::enroll(&plane.join(1, &[]).await).await.identity.node.to_string();
    let rename = async |name: &str, etag: &str| {
        let node = pb::Node {
            id: id.clone(),
            display_name: name.to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        };
        let request = pb::UpdateNodeRequest { node: Some(node), ..Default::default() };
        operator.nodes.clone().update_node(request).await
    };
    let first = operator.node(&id).await.unwrap().etag;
    let second = rename("one", &first).await.unwrap().into_inner().node.unwrap().etag;
    assert_ne!(first, second);
    assert_eq!(why(&rename("two", &first).await.unwrap_err()), stale);
    assert_eq!(operator.node(&id).await.unwrap().display_name, "one");
    rename("three", &second).await.expect("the newest reading is taken");
    let delete = pb::DeleteNodeRequest { id: id.clone(), etag: second, ..Default::default() };
    assert_eq!(why(&operator.nodes.clone().delete_node(delete).await.unwrap_err()), stale);
    assert!(operator.node(&id).await.is_some());
    let delete = pb::DeleteAssignmentRequest { name: "app".to_owned(), etag: first };
    assert_eq!(why(&operator.assignments.clone().delete_assignment(delete).await.unwrap_err()), stale);
}

#[tokio::test]
async fn what_an_assignment_gives_to_nodes_cannot_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator) = assigned(folder.path()).await;
    let in_use = (Code::FailedPrecondition, Some(Reason::InUse));
    let bundle = |version| pb::DeleteBundleRequest { name: "app".to_owned(), version };
    let profile = |version| pb::DeleteSettingsProfileRequest { name: "calm".to_owned(), version };
    for version in [0, 1] {
        let refused = operator.bundles.clone().delete_bundle(bundle(version)).await.unwrap_err();
        assert_eq!(why(&refused), in_use);
        assert!(refused.message().contains("\"app\""), "it names the assignment: {refused}");
    }
    for version in [0, 1] {
        let refused = operator.settings.clone().delete_settings_profile(profile(version)).await.unwrap_err();
        assert_eq!(why(&refused), in_use);
    }
    for name in ["app", "calm"] {
        let delete = pb::DeleteAssignmentRequest { name: name.to_owned(), etag: String::new() };
        operator.assignments.clone().delete_assignment(delete).await.unwrap();
    }
    operator.bundles.clone().delete_bundle(bundle(0)).await.expect("nobody uses it any more");
    operator.settings.clone().delete_settings_profile(profile(1)).await.expect("nobody uses it any more");
}

#[tokio::test]
async fn a_watch_cannot_go_on_from_another_history() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let watch = async |resume_token: &str| {
        let resume_token = resume_token.to_owned();
        let request = pb::WatchNodesRequest { resume_token, ..Default::default() };
        operator.nodes.clone().watch_nodes(request).await
    };
    let first = watch("").await.unwrap().into_inner().message().await.unwrap().unwrap();
    watch(&first.resume_token).await.expect("from its own history");
    // Within the epoch's bytes: the same place in a history with another number.
    let mut other = first.resume_token.clone();
    let changed = if &other[4..5] == "B" { "C" } else { "B" };
    other.replace_range(4..5, changed);
    for token in [other.as_str(), "no token"] {
        let refused = watch(token).await.unwrap_err();
        assert_eq!(why(&refused), (Code::OutOfRange, Some(Reason::ResumeTokenExpired)), "{token}");
    }
}

#[tokio::test]
async fn a_node_that_asks_too_often_is_told_when_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let tls = Arc::new(node.identity.client_config().unwrap());
    let channel = dial::channel(&plane.addresses().agents.to_string(), tls).await.unwrap();
    let mut client = IdentityServiceClient::new(channel);
    let mut taken = 0;
    let refused = loop {
        let refused = client.renew_certificate(agent::RenewCertificateRequest::default()).await.unwrap_err();
        if reason(&refused) != Some(Reason::CsrInvalid) {
            break refused;
        }
        taken += 1;
        assert!(taken < 200, "nothing holds it back");
    };
    assert_eq!(why(&refused), (Code::ResourceExhausted, Some(Reason::RateLimited)));
    assert!(taken >= 20, "a burst of 20 is taken: {taken}");
    assert!(refused.get_error_details().retry_info().is_some_and(|info| info.retry_delay.is_some()));
}

#[tokio::test]
async fn enrollment_can_be_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    plane.process().stop().await;
    plane.configure("enabled", "false");
    plane.serve(&[]).await;
    let host = Agent::host(folder.path(), "host", OPEN);
    let refused = host.try_connect(&join);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(18) && told.contains("ENROLLMENT_DISABLED"), "{told}");
    let refused = enroll(&join, &stranger(&join).await).await.unwrap_err();
    assert_eq!(why(&refused), (Code::Unavailable, Some(Reason::EnrollmentDisabled)));
    plane.process().stop().await;
    plane.configure("enabled", "true");
    plane.serve(&[]).await;
    assert!(host.try_connect(&join).status.success(), "the token was not used up");
}

#[tokio::test]
async fn a_node_that_is_silent_on_an_open_stream_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let mut session = node.session().await;
    let ended = session.end().await.unwrap();
    assert_eq!(why(&ended), (Code::ResourceExhausted, Some(Reason::SlowReader)));
}

async fn stranger(join: &JoinString) -> EnrollmentServiceClient<tonic::transport::Channel> {
    let tls = Arc::new(tls::enrollment_client_config(join.ca_pin).unwrap());
    EnrollmentServiceClient::new(dial::channel(&join.addresses[0], tls).await.unwrap())
}

/// Asks to come in with a good request.
async fn enroll(
    join: &JoinString,
    client: &EnrollmentServiceClient<tonic::transport::Channel>,
) -> Result<(), Status> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = agent::EnrollRequest {
        token: join.secret.clone(),
        csr_der: params.serialize_request(&key).unwrap().der().to_vec().into(),
        hostname: "host".to_owned(),
        ..Default::default()
    };
    client.clone().enroll(request).await.map(drop)
}

/// Holds the database of a control plane until it is dropped; no write is done meanwhile.
async fn hold_the_database(plane: &Plane) -> (Process, ChildStdin) {
    let hold = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\n\
        db.execute('BEGIN IMMEDIATE')\n\
        print('held', flush=True)\n\
        sys.stdin.read()";
    let mut found = std::fs::read_dir(plane.state()).unwrap().map(|entry| entry.unwrap().path());
    let database = found.find(|path| path.extension().is_some_and(|it| it == "db")).expect("a store");
    let mut command = Command::new(repository().join(".tools/venv/bin/python"));
    command.args(["-c", hold]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
    let (process, stdin, stdout) = Process::piped(command).unwrap();
    let held = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        line
    });
    assert_eq!(held.await.unwrap().trim(), "held");
    (process, stdin)
}

#[tokio::test]
async fn a_crowd_of_strangers_is_told_to_come_again_and_the_rest_is_served() {
    const AT_ONCE: usize = 32;
    const PER_CONNECTION: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(100, &[]).await;
    let mut clients = Vec::new();
    for _ in 0..=AT_ONCE / PER_CONNECTION {
        clients.push(stranger(&join).await);
    }
    let (mut held, _until_killed) = hold_the_database(&plane).await;
    let mut calls = JoinSet::new();
    for client in clients.into_iter().flat_map(|client| std::iter::repeat_n(client, PER_CONNECTION)) {
        let join = join.clone();
        calls.spawn(async move { enroll(&join, &client).await });
    }
    let mut next = async || tokio::time::timeout(LONG, calls.join_next()).await.unwrap().unwrap().unwrap();
    for _ in 0..PER_CONNECTION {
        let refused = next().await.unwrap_err();
        assert_eq!(why(&refused), (Code::Unavailable, Some(Reason::Overloaded)), "{refused}");
        assert!(refused.get_error_details().retry_info().is_some());
    }
    held.kill();
    for _ in 0..AT_ONCE {
        next().await.expect("those before were served");
    }
}
