//! Hosts that become other than their bundles say, as operators see it.

use std::fs;

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{BundleContent, BundleMode, ItemOutcome},
};
use muster_tests::{
    agent::Agent,
    operator::{Operator, file, reported},
    plane::{Options, Plane},
};

const ITEM: &str = "bundle/app";

/// A host with a bundle of one file.
async fn host(folder: &std::path::Path, mode: BundleMode, before: &str) -> (Plane, Operator, Agent) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[("role", "web")]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    fs::write(agent.file("app.conf"), before).unwrap();
    let mut content =
        BundleContent { files: vec![file(&agent.file("app.conf"), "ours\n")], ..Default::default() };
    content.set_mode(mode);
    let (_, sha256) = operator.bundle("app", content).await;
    operator.assign("app", "role=web", "app").await;
    operator.until_attempted(&agent.node, ITEM, &sha256).await;
    (plane, operator, agent)
}

fn in_sync(node: &pb::Node) -> bool {
    node.items.iter().any(|item| item.item == ITEM && item.in_sync)
}

#[tokio::test]
async fn drift_is_shown_and_over_when_the_file_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path(), BundleMode::ApplyAndMonitor, "before\n").await;
    assert!(in_sync(&operator.node(&agent.node).await.unwrap()));
    fs::write(agent.file("app.conf"), "theirs\n").unwrap();
    let differs = |node: &pb::Node| reported(node, ITEM).is_some_and(|state| !state.drift.is_empty());
    let node = operator.until("the drift is shown", &agent.node, differs).await;
    let drift = &reported(&node, ITEM).unwrap().drift[0];
    assert!(!in_sync(&node) && !drift.corrected);
    assert_eq!(drift.path, agent.file("app.conf").to_str().unwrap());
    assert_eq!(drift.diff, "--- bundle\n+++ host\n@@ -1 +1 @@\n-ours\n+theirs\n");
    fs::write(agent.file("app.conf"), "ours\n").unwrap();
    operator.until("the host is as it was", &agent.node, in_sync).await;
}

#[tokio::test]
async fn drift_is_corrected_and_that_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path(), BundleMode::ApplyAndCorrect, "before\n").await;
    fs::remove_file(agent.file("app.conf")).unwrap();
    let corrected = |node: &pb::Node| {
        reported(node, ITEM).is_some_and(|state| state.drift.iter().any(|drift| drift.corrected))
    };
    let node = operator.until("the drift is corrected", &agent.node, corrected).await;
    assert!(in_sync(&node) && agent.read("app.conf").as_deref() == Some("ours\n"));
}

#[tokio::test]
async fn an_audit_says_what_differs_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path(), BundleMode::Audit, "before\n").await;
    let node = operator.node(&agent.node).await.unwrap();
    let state = reported(&node, ITEM).unwrap();
    assert_eq!((state.outcome(), state.drift.len()), (ItemOutcome::Unchanged, 1));
    assert!(!in_sync(&node) && agent.read("app.conf").as_deref() == Some("before\n"));
    fs::write(agent.file("app.conf"), "ours\n").unwrap();
    operator.until("the host has it", &agent.node, in_sync).await;
}
