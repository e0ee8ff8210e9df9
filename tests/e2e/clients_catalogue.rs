//! The catalogue by grpcurl: the signed repository, extensions, releases and channels.

use std::path::Path;

use muster_tests::repository::Repository;

use super::{Grpcurl, text};

pub(super) fn all(grpc: &Grpcurl, repository: &Repository, folder: &Path) {
    assert_eq!(grpc.refusal("repository-get.sh", &[]), "NotFound");
    let agent = folder.join("agent");
    std::fs::write(&agent, b"an agent").unwrap();
    let agent = agent.to_str().unwrap();
    repository.does(&["add", "REPOSITORY", agent, "--kind", "release", "--version", "0.2.0"]);
    let packages = [repository.add("1.6.0", b"a package"), repository.add("1.7.0", b"a newer package")];
    repository.sign();
    let metadata = repository.path().join("metadata");
    let metadata = metadata.to_str().unwrap();
    assert_eq!(grpc.refusal("repository-publish.sh", &[metadata]), "FailedPrecondition", "no bytes are here");
    grpc.script("blobs-upload.sh", &[agent]);
    for package in packages {
        grpc.script("blobs-upload.sh", &[repository.path().join(package.path()).to_str().unwrap()]);
    }
    let publish = || grpc.script("repository-publish.sh", &[metadata]);
    let published = publish();
    assert_eq!(text(&published, "/repository/roles/0/name"), "root");
    assert_eq!(publish(), published, "the same again");
    assert_eq!(grpc.script("repository-get.sh", &[]), published);
    let first = grpc.script("targets-list.sh", &["1"]);
    assert_eq!(text(&first, "/targets/0/name"), "agent/0.2.0/linux-any.tar.zst");
    let rest = grpc.script("targets-list.sh", &["100", text(&first, "/nextPageToken")]);
    assert_eq!(text(&rest, "/targets/1/version"), "1.7.0");
    extensions(grpc, folder);
    releases(grpc);
}

fn extensions(grpc: &Grpcurl, folder: &Path) {
    let packages = grpc.script("packages-list.sh", &[]);
    assert_eq!(text(&packages, "/packages/0/versions/0/version"), "1.7.0");
    assert_eq!(text(&packages, "/packages/0/versions/1/platforms/0"), "linux-any");
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (settings, protected) =
        (file("settings", "{\"port\": 9100}"), file("protected", "{\"key\": \"hunter2\"}"));
    let made = grpc.script("extensions-create.sh", &["metrics", "muster", "test", "", &settings, &protected]);
    assert_eq!(text(&made, "/extension/packageVersion"), "1.7.0");
    let again = ["metrics", "muster", "test", "1.7.0", &settings, &protected];
    assert_eq!(grpc.script("extensions-create.sh", &again), made);
    let got = grpc.script("extensions-get.sh", &["metrics"]);
    assert!(!got.to_string().contains("hunter2") && !text(&got, "/extension/content/protectedId").is_empty());
    assert_eq!(
        text(&got, "/extension/content/artifacts/0/artifact/target"),
        "extension/muster/test/1.7.0/linux-any.tar.zst"
    );
    let refused = |args: &[&str]| grpc.refusal("extensions-create.sh", args);
    assert_eq!(refused(&["metrics", "muster", "test", "9.9.9"]), "FailedPrecondition");
    let list = file("list", "[1]");
    assert_eq!(refused(&["metrics", "muster", "test", "", &list]), "InvalidArgument");
    grpc.script("extensions-create.sh", &["metrics", "muster", "test", "1.6.0"]);
    assert_eq!(text(&grpc.script("extensions-list.sh", &["metrics"]), "/extensions/0/version"), "2");
    let assigned = grpc.script("assign-extension.sh", &["metrics", "role=metrics", "metrics", "1"]);
    assert_eq!(text(&assigned, "/assignment/extension/version"), "1");
    assert_eq!(grpc.refusal("extensions-delete.sh", &["metrics", "0"]), "FailedPrecondition");
    grpc.script("assignments-delete.sh", &["metrics"]);
    grpc.script("extensions-delete.sh", &["metrics", "0"]);
    assert_eq!(grpc.refusal("extensions-get.sh", &["metrics"]), "NotFound");
}

fn releases(grpc: &Grpcurl) {
    assert_eq!(grpc.refusal("channels-get.sh", &["stable"]), "NotFound");
    let set = grpc.script("channels-set.sh", &["stable", "0.2.0"]);
    assert_eq!(grpc.script("channels-get.sh", &["stable"]), set);
    assert_eq!(grpc.script("channels-list.sh", &[]).pointer("/channels/0"), set.pointer("/channel"));
    assert_eq!(grpc.refusal("channels-set.sh", &["stable", "0.3.0"]), "NotFound");
    assert_eq!(grpc.refusal("channels-set.sh", &["candidate", "0.2.0", "7"]), "Aborted");
    let releases = grpc.script("releases-list.sh", &[]);
    assert_eq!(text(&releases, "/releases/0/version"), "0.2.0");
    assert_eq!(text(&releases, "/releases/0/channels/0"), "stable");
    let assigned = grpc.script("assign-release.sh", &["agents", "role=agents", "@stable"]);
    assert_eq!(text(&assigned, "/assignment/release/version"), "0.2.0");
    grpc.script("assignments-delete.sh", &["agents"]);
    let held = grpc.script("assign-release.sh", &["agents", "role=agents", "0.2.0", "1", "held"]);
    assert_eq!(held.pointer("/assignment/held").and_then(serde_json::Value::as_bool), Some(true));
    grpc.script("assignments-delete.sh", &["agents"]);
}
