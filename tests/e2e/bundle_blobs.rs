//! Files of bundles that are blobs, from an operator's upload to the host's disk.

use std::{fs, path::Path, sync::Arc};

use muster_common::reason::Reason;
use muster_node_agent::{dial, identity::Identity};
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    agent::v1::{self as node, blob_service_client::BlobServiceClient},
    types::v1::{BundleContent, BundleFile, BundleMode, ErrorReason, FailureCause, FileBlob, ItemOutcome},
};
use muster_tests::{
    agent::Agent,
    blobs::{CHUNK, bytes, sha256},
    eventually::{LONG, eventually},
    operator::{Operator, file, reason, reported},
    plane::{Options, Plane},
    raw::RawNode,
};
use tonic::{Code, Status};

const ITEM: &str = "bundle/app";
/// Pieces of the large blob, the last of them short.
const PIECES: usize = 80;

fn large() -> Vec<u8> {
    bytes(PIECES * CHUNK - 17, 1)
}

fn blob(path: &Path, content: &[u8]) -> BundleFile {
    let blob = FileBlob { sha256: sha256(content).into(), size_bytes: content.len() as u64 };
    BundleFile { blob: Some(blob), ..file(path, "") }
}

fn with_blob(agent: &Agent, content: &[u8]) -> BundleContent {
    let files = vec![blob(&agent.file("big"), content), file(&agent.file("small"), "x")];
    BundleContent { files, ..Default::default() }
}

/// A control plane and one host.
async fn host(folder: &Path) -> (Plane, Operator, Agent) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[("role", "web")]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    (plane, operator, agent)
}

/// What a node gets of a blob.
async fn fetch(identity: &Identity, sha256: &[u8], offset: u64) -> Result<Vec<u8>, Status> {
    let tls = Arc::new(identity.client_config().unwrap());
    let channel = dial::channel(&identity.session_addresses[0], tls).await.expect("a connection");
    let request = node::DownloadBlobRequest { sha256: sha256.to_vec().into(), offset };
    let mut stream = BlobServiceClient::new(channel).download_blob(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.extend_from_slice(&message.chunk);
    }
    Ok(all)
}

async fn until_applied(operator: &Operator, agent: &Agent) {
    let applied = |node: &pb::Node| {
        node.items.iter().any(|item| item.item == ITEM && item.in_sync && item.reported.is_some())
    };
    let node = operator.until("the bundle is applied", &agent.node, applied).await;
    assert_eq!(reported(&node, ITEM).unwrap().outcome(), ItemOutcome::Applied);
}

fn is_whole(agent: &Agent, content: &[u8]) -> bool {
    fs::read(agent.file("big")).is_ok_and(|found| found == content)
        && agent.read("small").as_deref() == Some("x")
}

/// The part of a blob that has come to a host.
fn part(agent: &Agent, content: &[u8]) -> u64 {
    let digest = muster_common::digest::Sha256::of(content);
    let cache = agent.state().join("nodes").join(&agent.node).join("items/cache");
    fs::metadata(cache.join(format!("{digest}.part"))).map_or(0, |found| found.len())
}

#[tokio::test]
async fn an_uploaded_file_reaches_its_hosts_byte_for_byte_and_no_other_node() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, operator, agent) = host(folder.path()).await;
    let other = RawNode::enroll(&plane.join(1, &[("role", "db")]).await).await;
    let ours = RawNode::enroll(&plane.join(1, &[("role", "web")]).await).await;
    let content = large();
    let request = |content| pb::CreateBundleRequest {
        name: "app".to_owned(),
        content: Some(content),
        validate_only: true,
    };
    let early = operator.bundles.clone().create_bundle(request(with_blob(&agent, &content))).await;
    let early = early.expect_err("it is not here yet");
    assert_eq!((early.code(), reason(&early)), (Code::InvalidArgument, Some(Reason::InvalidArgument)));
    assert!(early.message().starts_with("content.files[0].blob"), "{early}");
    operator.upload(&content).await;
    let mut bundle = with_blob(&agent, &content);
    bundle.set_mode(BundleMode::ApplyAndCorrect);
    let (version, _) = operator.bundle("app", bundle).await;
    operator.assign("app", "role=web", "app").await;
    until_applied(&operator, &agent).await;
    assert!(is_whole(&agent, &content));

    assert_eq!(fetch(&ours.identity, &sha256(&content), 17).await.unwrap(), content[17..]);
    for (node, digest) in [(&other, sha256(&content)), (&other, sha256(b"none")), (&ours, sha256(b"none"))] {
        let refused = fetch(&node.identity, &digest, 0).await.expect_err("it has no need of it");
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::PermissionDenied, Some(Reason::PermissionDenied))
        );
    }
    let delete = pb::DeleteBlobRequest { sha256: sha256(&content).into() };
    let used = operator.blobs.clone().delete_blob(delete).await.expect_err("a bundle needs it");
    assert_eq!(reason(&used), Some(Reason::InUse));
    assert_eq!(operator.blob(&sha256(&content)).await.unwrap().referrers, [format!("bundle/app/{version}")]);

    // Drift is told by digests, and corrected without the control plane.
    drop(plane);
    fs::write(agent.file("big"), "theirs").unwrap();
    eventually("the file is as it was", LONG, || {
        std::future::ready(is_whole(&agent, &content).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_killed_while_it_fetches_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agent) = host(folder.path()).await;
    let content = large();
    agent.kill();
    agent.run_with(&[("MUSTER_CRASH_AT", "agent.fetch.piece:50")]);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    operator.upload(&content).await;
    operator.bundle("app", with_blob(&agent, &content)).await;
    operator.assign("app", "role=web", "app").await;
    agent.process().ended().await;
    assert_eq!(part(&agent, &content), (50 * CHUNK) as u64);
    assert!(!agent.file("big").exists() && !agent.file("small").exists(), "nothing is half applied");
    // Thirty pieces are left: from the begin, it would die once more.
    agent.run_with(&[("MUSTER_CRASH_AT", "agent.fetch.piece:31")]);
    until_applied(&operator, &agent).await;
    assert!(is_whole(&agent, &content) && agent.process().is_running());
    assert_eq!(part(&agent, &content), 0);
}

#[tokio::test]
async fn a_control_plane_that_dies_while_it_gives_costs_the_version_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut plane, operator, mut agent) = host(folder.path()).await;
    let content = large();
    operator.upload(&content).await;
    plane.kill();
    plane.serve(&[("MUSTER_CRASH_AT", "api.download.piece:40")]).await;
    let operator = plane.operator().await;
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let (_, digest) = operator.bundle("app", with_blob(&agent, &content)).await;
    operator.assign("app", "role=web", "app").await;
    plane.process().ended().await;
    let told = "FETCH_FAILED";
    eventually("the host says why", LONG, || std::future::ready(agent.log().contains(told).then_some(())))
        .await;
    assert!(!agent.file("big").exists() && !agent.file("small").exists());
    let came = part(&agent, &content);
    assert!(came > 0 && came < content.len() as u64, "{came}");

    // A host that is stopped tells what it is waiting for, before it is tried again.
    agent.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    agent.run_with(&[("MUSTER_CRASH_AT", "agent.fetch.whole")]);
    let state = operator.until_attempted(&agent.node, ITEM, &digest).await;
    let error = state.error.expect("it says why");
    assert_eq!((error.reason(), error.cause()), (ErrorReason::FetchFailed, FailureCause::Network));
    agent.process().ended().await;
    agent.run();
    until_applied(&operator, &agent).await;
    assert!(is_whole(&agent, &content));
}

#[tokio::test]
async fn what_is_taken_back_while_a_node_fetches_it_comes_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let ours = RawNode::enroll(&plane.join(1, &[("role", "web")]).await).await;
    // More than lies in the windows and buffers of a connection.
    let content = bytes(8 * 1024 * 1024, 4);
    operator.upload(&content).await;
    let files = vec![blob(Path::new("/etc/app/big"), &content)];
    operator.bundle("app", BundleContent { files, ..Default::default() }).await;
    operator.assign("app", "role=web", "app").await;
    let tls = Arc::new(ours.identity.client_config().unwrap());
    let channel = dial::channel(&ours.identity.session_addresses[0], tls).await.unwrap();
    let request = node::DownloadBlobRequest { sha256: sha256(&content).into(), offset: 0 };
    let mut stream = BlobServiceClient::new(channel).download_blob(request).await.unwrap().into_inner();
    let mut came = stream.message().await.unwrap().expect("it begins").chunk.len();
    let request = pb::DeleteAssignmentRequest { name: "app".to_owned(), etag: String::new() };
    operator.assignments.clone().delete_assignment(request).await.unwrap();
    let end = loop {
        match stream.message().await {
            Ok(Some(message)) => came += message.chunk.len(),
            Ok(None) => panic!("all of it came"),
            Err(status) => break status,
        }
    };
    assert_eq!((end.code(), reason(&end)), (Code::PermissionDenied, Some(Reason::PermissionDenied)));
    assert!(came < content.len(), "{came}");
}

#[tokio::test]
async fn an_older_agent_is_not_offered_what_it_would_write_empty() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let older = RawNode::enroll(&plane.join(1, &[("role", "web")]).await).await;
    let hello = node::Hello {
        capabilities: ["bundle", "bundle-v2", "settings"].map(str::to_owned).to_vec(),
        ..muster_tests::raw::hello()
    };
    let mut session = older.open(node::session_request::Kind::Hello(hello)).await.unwrap();
    let content = bytes(CHUNK, 3);
    operator.upload(&content).await;
    let files = vec![blob(Path::new("/etc/app/big"), &content)];
    operator.bundle("app", BundleContent { files, ..Default::default() }).await;
    let plain = BundleContent { files: vec![file(Path::new("/etc/plain"), "x")], ..Default::default() };
    operator.bundle("plain", plain).await;
    operator.assign("app", "role=web", "app").await;
    operator.assign("plain", "role=web", "plain").await;
    let id = older.identity.node.to_string();
    let withheld = |node: &pb::Node| {
        node.items.iter().any(|item| item.item == ITEM && item.withheld() == ErrorReason::ItemKindUnknown)
    };
    operator.until("it is withheld", &id, withheld).await;
    let offered = async {
        loop {
            let message = session.next().await.unwrap().expect("the session goes on");
            let Some(node::session_response::Kind::DesiredState(desired)) = message.kind else { continue };
            if !desired.upserts.is_empty() {
                return desired.upserts;
            }
        }
    };
    let offered = tokio::time::timeout(LONG, offered).await.expect("the other bundle is offered");
    let items: Vec<_> = offered.iter().map(|upsert| upsert.item.as_str()).collect();
    assert_eq!(items, ["bundle/plain"]);
}
