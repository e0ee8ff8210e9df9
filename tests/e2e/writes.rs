//! What operators write is what they get, once and within bounds.

use std::collections::BTreeMap;

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{self as pb, assignment::Target},
    agent::v1::{self as agent, session_request::Kind, session_response::Kind as Answer},
    types::v1::{self as types, BundleContent, BundleFile},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, file, reason, script},
    plane::{Options, Plane},
    raw::{RawNode, RawSession},
};
use prost_types::Duration;

async fn plane(folder: &std::path::Path) -> (Plane, Operator) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    (plane, operator)
}

#[tokio::test]
async fn the_number_of_a_deleted_version_is_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator) = plane(folder.path()).await;
    let content = |text: &str| BundleContent {
        files: vec![file(std::path::Path::new("/etc/app"), text)],
        ..Default::default()
    };
    let (first, _) = operator.bundle("app", content("one")).await;
    let (second, _) = operator.bundle("app", content("two")).await;
    let delete = pb::DeleteBundleRequest { name: "app".to_owned(), version: second };
    operator.bundles.clone().delete_bundle(delete).await.unwrap();
    let (third, _) = operator.bundle("app", content("three")).await;
    assert_eq!((first, second, third), (1, 2, 3));
}

#[tokio::test]
async fn profiles_of_different_nodes_can_differ_and_those_of_one_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, operator) = plane(folder.path()).await;
    let _web = Agent::start(folder.path(), "web", &plane.join(1, &[("role", "web")]).await);
    let _db = Agent::start(folder.path(), "db", &plane.join(1, &[("role", "db")]).await);
    let put = |name: &str, level: &str| {
        let values = BTreeMap::from([("log-level".to_owned(), level.to_owned())]);
        let profile = pb::SettingsProfile { name: name.to_owned(), values, ..Default::default() };
        let request = pb::PutSettingsProfileRequest { profile: Some(profile), validate_only: false };
        let mut settings = operator.settings.clone();
        async move { settings.put_settings_profile(request).await }
    };
    let assign = |name: &str, selector: &str| {
        let target = Target::Settings(pb::SettingsTarget { profile: name.to_owned(), version: 0 });
        let assignment = pb::Assignment {
            name: name.to_owned(),
            selector: selector.to_owned(),
            target: Some(target),
            ..Default::default()
        };
        let request = pb::CreateAssignmentRequest { assignment: Some(assignment), validate_only: false };
        let mut assignments = operator.assignments.clone();
        async move { assignments.create_assignment(request).await }
    };
    for (name, selector) in [("web", "role=web"), ("db", "role=db"), ("all", "*")] {
        put(name, "info").await.unwrap();
        assign(name, selector).await.unwrap();
    }
    // A version that nobody assigns is at odds with nothing; the one who assigns it is.
    put("web", "debug").await.unwrap();
    let update = || {
        let target = Target::Settings(pb::SettingsTarget { profile: "web".to_owned(), version: 2 });
        let assignment = pb::Assignment {
            name: "web".to_owned(),
            selector: "role=web".to_owned(),
            target: Some(target),
            ..Default::default()
        };
        let request = pb::UpdateAssignmentRequest { assignment: Some(assignment), validate_only: false };
        let mut assignments = operator.assignments.clone();
        async move { assignments.update_assignment(request).await }
    };
    let refused = update().await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::Conflict), "{refused:?}");
    let delete = pb::DeleteAssignmentRequest { name: "all".to_owned(), ..Default::default() };
    operator.assignments.clone().delete_assignment(delete).await.unwrap();
    update().await.expect("no node has both");
}

#[tokio::test]
async fn what_is_too_large_for_a_host_is_refused_when_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator) = plane(folder.path()).await;
    let long = |n: usize| format!("/{n}/{}", ["x".repeat(255).as_str(); 15].join("/"));
    let files = (0..64).map(|n| BundleFile { path: long(n), ..Default::default() }).collect();
    let content = Some(BundleContent { files, ..Default::default() });
    let create = pb::CreateBundleRequest { name: "app".to_owned(), content, validate_only: true };
    let refused = operator.bundles.clone().create_bundle(create).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TooLarge), "{refused:?}");
    let interpreter = vec!["/bin/sh".to_owned(), "x".repeat(100 * 1024)];
    let run = types::RunScript { script: "true".to_owned(), interpreter, ..Default::default() };
    let spec = types::CommandSpec { kind: Some(types::command_spec::Kind::RunScript(run)) };
    let start =
        pb::StartOperationRequest { selector: "*".to_owned(), spec: Some(spec), ..Default::default() };
    let refused = operator.operations.clone().start_operation(start).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TooLarge), "{refused:?}");
}

#[tokio::test]
async fn a_request_id_stands_for_the_timing_too_and_not_for_the_order_of_variables() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator) = plane(folder.path()).await;
    let environment = (0..20).map(|n| (format!("V{n}"), "1".to_owned())).collect();
    let run = types::RunScript { script: "true".to_owned(), environment, ..Default::default() };
    let spec = types::CommandSpec { kind: Some(types::command_spec::Kind::RunScript(run)) };
    let start = |seconds: Option<i64>| {
        let request = pb::StartOperationRequest {
            selector: "*".to_owned(),
            spec: Some(spec.clone()),
            request_id: "once".to_owned(),
            run_timeout: seconds.map(|seconds| Duration { seconds, nanos: 0 }),
            ..Default::default()
        };
        let mut operations = operator.operations.clone();
        async move { operations.start_operation(request).await.map(|it| it.into_inner().operation.unwrap().id) }
    };
    let first = start(None).await.unwrap();
    for _ in 0..5 {
        assert_eq!(start(None).await.unwrap(), first);
    }
    assert_eq!(reason(&start(Some(30)).await.unwrap_err()), Some(Reason::RequestIdReused));
}

#[tokio::test]
async fn a_page_of_commands_with_output_fits_into_a_message() {
    let folder = tempfile::tempdir().unwrap();
    // These hosts beat by their output only, and that comes as fast as the disk writes it.
    let options = Options { heartbeat: std::time::Duration::from_secs(15), ..Options::default() };
    let plane = Plane::start(folder.path(), &options).await;
    let operator = plane.operator().await;
    let join = plane.join(6, &[]).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(RawNode::enroll(&join).await.session().await);
    }
    let id = operator.start("*", script("head -c 900000 /dev/zero")).await;
    // All at once: a host that waited for its turn would be taken for dead.
    let mut printing = tokio::task::JoinSet::new();
    for session in sessions {
        printing.spawn(print_as_a_host_would(session, 900_000));
    }
    let request = |token: String| pb::ListCommandsRequest {
        operation_id: id.clone(),
        page_size: 1000,
        page_token: token,
        with_output: true,
    };
    eventually("the operation has ended", LONG, || async {
        let get = pb::GetOperationRequest { id: id.clone() };
        let found = operator.operations.clone().get_operation(get).await.ok()?.into_inner().operation?;
        (found.state() == pb::OperationState::Ended).then_some(())
    })
    .await;
    let (mut token, mut sizes, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let page = operator.operations.clone().list_commands(request(token)).await.unwrap().into_inner();
        sizes.extend(page.commands.iter().map(|command| command.stdout.len()));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [900_000; 6]);
    assert_eq!(pages, 3, "two fit into a page");
}

/// Bytes in one report, well below the credit of a command.
const CHUNK: usize = 32 * 1024;

/// Waits for an order and says that it printed so much and went well.
async fn print_as_a_host_would(mut session: RawSession, bytes: usize) {
    let command_id = loop {
        if let Some(Answer::Command(order)) = session.next().await.unwrap().expect("a message").kind {
            break order.id;
        }
    };
    let report = |seq: u64, state: types::CommandState, data: Vec<u8>| {
        let output = agent::OutputChunk {
            stream: agent::Stream::Stdout as i32,
            data: data.into(),
            ..Default::default()
        };
        let (command_id, output) = (command_id.clone(), Some(output));
        Kind::Command(agent::CommandReport {
            command_id,
            seq,
            state: state as i32,
            output,
            ..Default::default()
        })
    };
    // Output within its credit: each piece waits for the one before to be stored.
    let mut seq = 0;
    for piece in vec![b'x'; bytes].chunks(CHUNK) {
        seq += 1;
        session.say(report(seq, types::CommandState::Running, piece.to_vec())).await;
        let acknowledged = |ack: &agent::CommandAck| ack.command_id == command_id && ack.seq >= seq;
        loop {
            if let Some(Answer::Ack(ack)) = session.next().await.unwrap().expect("a message").kind
                && ack.commands.iter().any(acknowledged)
            {
                break;
            }
        }
    }
    session.say(report(seq + 1, types::CommandState::Succeeded, Vec::new())).await;
    while let Ok(Some(_)) = session.next().await {} // until the test is over
}
