//! What each kind of command does on a real host without systemd, and what it finds.

use std::io::Read as _;

use muster_common::{clock::Clock, ids::CommandId, reason::Reason, settings::Service};
use muster_node_agent::{dial::Dialer, identity};
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    agent::v1::{self as agent, blob_service_client::BlobServiceClient, upload_result_request::Part},
    types::v1::{self as types, CommandState, ErrorReason, command_result, command_spec::Kind},
};
use muster_tests::{
    agent::Agent,
    blobs::{bytes, sha256},
    eventually::{LONG, eventually},
    operator::{Operator, reason, script},
    plane::{Options, Plane},
    raw::RawNode,
};
use tonic::{Code, Status};

pub(crate) fn spec(kind: Kind) -> types::CommandSpec {
    types::CommandSpec { kind: Some(kind) }
}

fn logs(args: types::CollectLogs) -> types::CommandSpec {
    spec(Kind::CollectLogs(args))
}

pub(crate) fn result(command: &NodeCommand) -> Option<command_result::Kind> {
    command.result.clone()?.kind
}

/// Runs a command on all nodes; answers how it ended on one.
pub(crate) async fn run(operator: &Operator, node: &str, spec: types::CommandSpec) -> NodeCommand {
    let operation = operator.start("*", spec).await;
    operator.ended(&operation, LONG).await.remove(node).expect("the node is in it")
}

/// The file of a command.
pub(crate) async fn download(operator: &Operator, command: &str, offset: u64) -> Result<Vec<u8>, Status> {
    let request = pb::DownloadResultRequest { command_id: command.to_owned(), offset };
    let mut stream = operator.operations.clone().download_result(request).await?.into_inner();
    let mut file = Vec::new();
    while let Some(message) = stream.message().await? {
        file.extend_from_slice(&message.chunk);
    }
    Ok(file)
}

/// Names and texts of an archive.
pub(crate) fn unpacked(archive: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let text = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    };
    archive.entries().unwrap().map(text).collect()
}

async fn one_host(folder: &std::path::Path) -> (Plane, Operator, Agent) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    (plane, operator, agent)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, Option<Reason>) {
    let status = answer.expect_err("it must be refused");
    (status.code(), reason(&status))
}

#[tokio::test]
async fn logs_come_to_who_sees_their_command_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = one_host(folder.path()).await;
    agent.rules("# the password=hunter2 of this host\n[commands]\nrun-script = true\n");
    let command = run(&operator, &agent.node, logs(types::CollectLogs::default())).await;
    assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
    let Some(command_result::Kind::CollectLogs(told)) = result(&command) else { panic!("{command:?}") };
    let archive = download(&operator, &command.id, 0).await.unwrap();
    assert_eq!((archive.len() as u64, sha256(&archive)), (told.size_bytes, told.sha256.to_vec()));
    assert_eq!(download(&operator, &command.id, 10).await.unwrap(), archive[10..]);
    let files = unpacked(&archive);
    let of =
        |name: &str| files.iter().find(|(other, _)| other == name).map(|(_, text)| text.as_str()).unwrap();
    assert!(of("about/facts.json").contains("agent_version") && of("agent.log").contains(&agent.node));
    assert!(of("about/conditions.txt").contains("LockFileOk"));
    assert!(of("about/locks.toml").contains("password=[redacted] of this host\n[commands]"));
    assert!(!files.iter().any(|(_, text)| text.contains("PRIVATE KEY") || text.contains("hunter2")));

    // It is no blob among others: whoever may read blobs need not see this node.
    let none = (Code::NotFound, Some(Reason::NotFound));
    assert_eq!(refused(operator.blob(&told.sha256).await), none);
    assert_eq!(refused(operator.download(&told.sha256, 0).await), none);
    let listed = operator.blobs.clone().list_blobs(pb::ListBlobsRequest::default()).await.unwrap();
    assert!(listed.into_inner().blobs.is_empty());
    let past = refused(download(&operator, &command.id, told.size_bytes + 1).await);
    assert_eq!(past, (Code::InvalidArgument, Some(Reason::InvalidArgument)));
    assert_eq!(refused(download(&operator, &CommandId::generate().to_string(), 0).await), none);
    let script = run(&operator, &agent.node, script("echo no file")).await;
    assert_eq!(refused(download(&operator, &script.id, 0).await), none);
    assert!(
        agent.state().join("nodes").join(&agent.node).join("scripts").read_dir().unwrap().next().is_none()
    );
}

/// A file of a command, as a node brings it; what it says of it may be wrong.
async fn bring(
    node: &RawNode,
    command: &str,
    content: &[u8],
    change: impl Fn(&mut agent::ResultStart),
) -> Result<(), Status> {
    let mut start = agent::ResultStart {
        command_id: command.to_owned(),
        sha256: sha256(content).into(),
        size_bytes: content.len() as u64,
    };
    change(&mut start);
    let of = |part| agent::UploadResultRequest { part: Some(part) };
    let mut messages = vec![of(Part::Start(start))];
    messages.extend(content.chunks(60_000).map(|chunk| of(Part::Chunk(chunk.to_vec().into()))));
    let channel = identity::connect(&node.identity, Service::Artifacts, &Dialer::default()).await.unwrap();
    BlobServiceClient::new(channel).upload_result(tokio_stream::iter(messages)).await.map(drop)
}

#[tokio::test]
async fn a_node_brings_only_the_file_that_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let (node, other) =
        (RawNode::enroll(&plane.join(1, &[]).await).await, RawNode::enroll(&plane.join(1, &[]).await).await);
    let (id, others) = (node.identity.node.to_string(), other.identity.node.to_string());
    let asked =
        operator.start("*", logs(types::CollectLogs { max_bytes: 65_536, ..Default::default() })).await;
    let commands = operator.commands(&asked).await;
    let (mine, theirs) = (commands[&id].id.clone(), commands[&others].id.clone());
    let content = bytes(200_000, 1);
    let same = |_: &mut agent::ResultStart| {};

    let denied = (Code::PermissionDenied, Some(Reason::PermissionDenied));
    assert_eq!(refused(bring(&node, &theirs, &content, same).await), denied, "another node's");
    let nothing = CommandId::generate().to_string();
    assert_eq!(refused(bring(&node, &nothing, &content, same).await), denied, "no command");
    let started = operator.start("*", script("true")).await;
    let of_script = operator.commands(&started).await[&id].id.clone();
    assert_eq!(refused(bring(&node, &of_script, &content, same).await), denied, "a kind without a file");
    let invalid = (Code::InvalidArgument, Some(Reason::InvalidArgument));
    let large = bring(&node, &mine, &content, |start| start.size_bytes = 1 << 20).await;
    assert_eq!(refused(large), (Code::InvalidArgument, Some(Reason::TooLarge)), "more than was asked for");
    assert_eq!(refused(bring(&node, &mine, &content, |start| start.size_bytes = 10).await), invalid);
    assert_eq!(refused(bring(&node, &mine, &content, |start| start.size_bytes += 1).await), invalid);
    let wrong = bring(&node, &mine, &content, |start| start.sha256 = sha256(b"other").into()).await;
    assert_eq!(refused(wrong), (Code::InvalidArgument, Some(Reason::DigestMismatch)));
    assert_eq!(refused(bring(&node, "no id", &content, same).await), invalid);
    assert_eq!(
        refused(bring(&node, &mine, &content, |start| start.sha256 = b"x".to_vec().into()).await),
        invalid
    );

    // Others' bytes are not to be had by their digest.
    bring(&other, &theirs, &content, same).await.unwrap();
    let claimed = bring(&node, &mine, b"", |start| {
        (start.sha256, start.size_bytes) = (sha256(&content).into(), content.len() as u64);
    });
    assert_eq!(refused(claimed.await), invalid, "to know the digest is not to have the bytes");
    assert_eq!(refused(download(&operator, &mine, 0).await).0, Code::NotFound);

    let first = bytes(1000, 2);
    bring(&node, &mine, &first, same).await.unwrap();
    bring(&node, &mine, &first, same).await.expect("the same may come again: its answer may be lost");
    let conflict = (Code::FailedPrecondition, Some(Reason::StateConflict));
    assert_eq!(refused(bring(&node, &mine, &content, same).await), conflict, "one file each");
    assert_eq!(download(&operator, &mine, 0).await.unwrap(), first);
    let request = pb::CancelOperationRequest { id: asked, ..Default::default() };
    operator.operations.clone().cancel_operation(request).await.unwrap();
    assert_eq!(refused(bring(&node, &mine, &first, same).await), conflict, "it has ended");
    assert_eq!(download(&operator, &mine, 0).await.unwrap(), first, "what had come is kept");
}

#[tokio::test]
async fn a_file_is_taken_no_further_when_its_command_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let asked = operator.start("*", logs(types::CollectLogs::default())).await;
    let command_id = operator.commands(&asked).await[&node.identity.node.to_string()].id.clone();
    let content = bytes(1000, 1);
    let start =
        agent::ResultStart { command_id, sha256: sha256(&content).into(), size_bytes: content.len() as u64 };
    let (say, parts) = tokio::sync::mpsc::channel(100);
    let of = |part| agent::UploadResultRequest { part: Some(part) };
    let piece = |at: usize| of(Part::Chunk(content[at..=at].to_vec().into()));
    say.send(of(Part::Start(start))).await.unwrap();
    for at in 0..20 {
        say.send(piece(at)).await.unwrap();
    }
    let mut client = BlobServiceClient::new(
        identity::connect(&node.identity, Service::Artifacts, &Dialer::default()).await.unwrap(),
    );
    let parts = tokio_stream::wrappers::ReceiverStream::new(parts);
    #[allow(clippy::disallowed_methods)] // it ends with the answer
    let answer = tokio::spawn(async move { client.upload_result(parts).await });
    eventually("its first bytes have come", LONG, || {
        let uploads = plane.state().join("uploads").read_dir().unwrap();
        let bytes: u64 = uploads.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        std::future::ready((bytes == 20).then_some(()))
    })
    .await;
    let request = pb::CancelOperationRequest { id: asked, ..Default::default() };
    operator.operations.clone().cancel_operation(request).await.unwrap();
    for at in 20..40 {
        say.send(piece(at)).await.unwrap();
    }
    let refusal = tokio::time::timeout(LONG, answer).await.expect("it is not heard to its end").unwrap();
    assert_eq!(refused(refusal), (Code::FailedPrecondition, Some(Reason::StateConflict)));
}

#[tokio::test]
async fn a_rotation_succeeds_when_the_new_certificate_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = one_host(folder.path()).await;
    let held = || identity::Store::new(&agent.state()).load().unwrap().unwrap();
    let (before, session) =
        (held(), operator.node(&agent.node).await.unwrap().connection.unwrap().session_id);
    let command = run(&operator, &agent.node, spec(Kind::RotateIdentity(types::RotateIdentity {}))).await;
    assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
    let Some(command_result::Kind::RotateIdentity(told)) = result(&command) else { panic!("{command:?}") };
    let now = held();
    assert_eq!((Some(&told.serial), told.certificate_generation), (now.serial().as_ref(), 2));
    assert_eq!(told.not_after_ms, now.not_after.0);
    assert!(now.serial() != before.serial() && now.key_pem != before.key_pem);
    assert_ne!(operator.node(&agent.node).await.unwrap().connection.unwrap().session_id, session);
}

#[tokio::test]
async fn a_restart_tells_both_processes() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = one_host(folder.path()).await;
    let command = run(&operator, &agent.node, spec(Kind::RestartAgent(types::RestartAgent {}))).await;
    let Some(command_result::Kind::RestartAgent(first)) = result(&command) else { panic!("{command:?}") };
    let command = run(&operator, &agent.node, spec(Kind::RestartAgent(types::RestartAgent {}))).await;
    let Some(command_result::Kind::RestartAgent(second)) = result(&command) else { panic!("{command:?}") };
    assert_eq!(second.old_instance_id, first.new_instance_id);
    assert!(first.old_instance_id != first.new_instance_id && !first.old_instance_id.is_empty());
}

#[tokio::test]
async fn a_disconnect_succeeds_with_the_end_of_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = one_host(folder.path()).await;
    let seconds = Clock::System.now().0 / 1000 + 3600;
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script("true")),
        not_before: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        ..Default::default()
    };
    let started = operator.operations.clone().start_operation(request).await.unwrap().into_inner();
    let waits = started.operation.unwrap().id;
    eventually("the script waits on its host", LONG, || async {
        (operator.commands(&waits).await[&agent.node].state() == CommandState::Delivered).then_some(())
    })
    .await;
    let command = run(&operator, &agent.node, spec(Kind::Disconnect(types::Disconnect {}))).await;
    assert_eq!((command.state(), command.reason()), (CommandState::Succeeded, ErrorReason::Unspecified));
    assert!(operator.node(&agent.node).await.is_none(), "the node is gone with it");
    let other = operator.ended(&waits, LONG).await.remove(&agent.node).unwrap();
    assert_eq!((other.state(), other.reason()), (CommandState::Interrupted, ErrorReason::NodeGone));
    eventually("the host has forgotten it", LONG, || async {
        let connected = agent.cli(&["show", "connected"]).stdout;
        (connected == b"false\n" && !agent.state().join("nodes").join(&agent.node).exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_does_what_its_lock_file_names_and_says_what_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = one_host(folder.path()).await;
    let service =
        types::Service { action: types::ServiceAction::Restart.into(), unit: "app.service".to_owned() };
    let (service, reboot) = (spec(Kind::Service(service)), spec(Kind::Reboot(types::Reboot::default())));
    let journals = logs(types::CollectLogs { units: vec!["sshd.service".to_owned()], ..Default::default() });
    for spec in [&service, &reboot, &journals] {
        let command = run(&operator, &agent.node, spec.clone()).await;
        let how = (command.state(), command.reason());
        assert_eq!(how, (CommandState::Denied, ErrorReason::LocalLock), "{}", command.message);
    }
    if std::path::Path::new("/run/systemd/system").exists() {
        return; // what is done there is shown on hosts of their own
    }
    agent.rules("[commands]\nallow = [\"reboot\"]\nservices = [\"app.*\"]\n");
    for spec in [service, reboot] {
        let command = run(&operator, &agent.node, spec).await;
        let how = (command.state(), command.reason());
        assert_eq!(how, (CommandState::Failed, ErrorReason::UnavailableOnHost), "{}", command.message);
    }
}
