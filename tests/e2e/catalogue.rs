//! The signed repository over the wire: published by an operator, read by a node as from any mirror.

use std::{collections::BTreeMap, sync::Arc};

use muster_node_agent::dial;
use muster_proto::{
    admin::v1 as pb,
    agent::v1::{self as agent, artifact_service_client::ArtifactServiceClient},
};
use muster_tests::{
    blobs::bytes,
    plane::{Options, Plane},
    raw::RawNode,
    repository::Repository,
};
use tonic::{Code, transport::Channel};

/// All of a file from an offset on, and the size that it was said to have.
async fn read(
    client: &mut ArtifactServiceClient<Channel>,
    path: &str,
    offset: u64,
) -> Result<(u64, Vec<u8>), tonic::Status> {
    let request = agent::DownloadArtifactRequest { path: path.to_owned(), offset };
    let mut stream = client.download_artifact(request).await?.into_inner();
    let head = stream.message().await?.expect("the first message");
    assert!(head.chunk.is_empty(), "the size comes first, and alone");
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        assert!(message.size_bytes == 0 && message.chunk.len() <= 64 * 1024);
        all.extend_from_slice(&message.chunk);
    }
    Ok((head.size_bytes, all))
}

#[tokio::test]
async fn a_node_verifies_for_itself_what_an_operator_published() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    let repository = Repository::new();
    let root = repository.path().join("metadata/1.root.json");
    plane.configure("root", &format!("{root:?}"));
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let content = bytes(200_000, 3);
    let published = repository.add("1.0.0", &content);
    repository.sign();
    operator.upload(&content).await;
    let request = pb::PublishRepositoryRequest { metadata: repository.metadata(), validate_only: false };
    operator.artifacts.clone().publish_repository(request).await.unwrap();

    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let tls = Arc::new(node.identity.client_config().unwrap());
    let channel = dial::channel(&node.identity.session_addresses[0], tls).await.unwrap();
    let mut client = ArtifactServiceClient::new(channel);
    let pinned = repository.root();
    let now = muster_common::clock::Clock::System.now();
    let mut update = muster_common::tuf::Update::begin(&pinned, None, now).unwrap();
    while let Some(want) = update.wants() {
        let found = match read(&mut client, &want.path, 0).await {
            Ok((size, all)) => {
                assert_eq!(size, all.len() as u64);
                Some(all)
            }
            Err(status) => {
                assert!(status.code() == Code::NotFound && want.optional, "{}: {status}", want.path);
                None
            }
        };
        update.take(found.as_deref()).unwrap();
    }
    let found = update.finish().unwrap();
    let path = found.path(&found.target(&published.target).unwrap());
    let pieces: BTreeMap<u64, Vec<u8>> = [0, 150_000, 200_000].map(|at| (at, Vec::new())).into();
    for offset in pieces.into_keys() {
        let (size, rest) = read(&mut client, &path, offset).await.unwrap();
        assert!(size == 200_000 && rest == content[usize::try_from(offset).unwrap()..], "from {offset}");
    }
    let beyond = read(&mut client, &path, 200_001).await.unwrap_err();
    assert_eq!(beyond.code(), Code::InvalidArgument);
}
