//! Configuration reaches the host, and a bad one does not stay there.

use muster_common::digest::Sha256;
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{BundleContent, ErrorReason, FailureCause, ItemOutcome, ItemState},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, file, reported, sh},
    plane::{Options, Plane},
};

const ITEM: &str = "bundle/app";

/// A control plane and one host that runs the first version of a bundle.
async fn one_good(folder: &std::path::Path) -> (Plane, Operator, Agent, Vec<u8>) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[("role", "web")]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let content =
        BundleContent { files: vec![file(&agent.file("app.conf"), "good\n")], ..Default::default() };
    let (_, good) = operator.bundle("app", content).await;
    operator.assign("app", "role=web", "app").await;
    let state = operator.until_attempted(&agent.node, ITEM, &good).await;
    assert_eq!(state.outcome(), ItemOutcome::Applied);
    assert_eq!(agent.read("app.conf").as_deref(), Some("good\n"));
    (plane, operator, agent, good)
}

fn running(state: &ItemState) -> &[u8] {
    state.running.as_ref().map(|version| version.sha256.as_ref()).unwrap_or_default()
}

fn error(state: &ItemState) -> (ErrorReason, FailureCause) {
    let error = state.error.as_ref().expect("it says why");
    (error.reason(), error.cause())
}

#[tokio::test]
async fn a_failing_validate_hook_or_probe_returns_the_host_to_last_good() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent, good) = one_good(folder.path()).await;
    let bad = || BundleContent { files: vec![file(&agent.file("app.conf"), "bad\n")], ..Default::default() };
    let no = || sh("echo why >&2; exit 1");
    let cases = [
        (BundleContent { validate: no(), ..bad() }, ItemOutcome::Rejected, ErrorReason::ValidateFailed),
        (BundleContent { on_change: no(), ..bad() }, ItemOutcome::RolledBack, ErrorReason::OnChangeFailed),
        (BundleContent { probe: no(), ..bad() }, ItemOutcome::RolledBack, ErrorReason::ProbeFailed),
    ];
    for (content, outcome, reason) in cases {
        let (version, sha256) = operator.bundle("app", content).await;
        operator.assign("app", "role=web", "app").await;
        let state = operator.until_attempted(&agent.node, ITEM, &sha256).await;
        assert_eq!((state.outcome(), error(&state)), (outcome, (reason, FailureCause::Content)));
        assert_eq!(running(&state), good, "what runs is the last good version");
        assert_eq!(state.attempted.as_ref().unwrap().version, version.to_string());
        assert_eq!(state.error.unwrap().output.as_ref(), b"why\n");
        assert_eq!(agent.read("app.conf").as_deref(), Some("good\n"));
        let node = operator.node(&agent.node).await.unwrap();
        assert!(!node.items.iter().find(|item| item.item == ITEM).unwrap().in_sync);
    }
    // The next good version is taken, hooks and all.
    let looks = sh(&format!("grep -q better {}", agent.file("app.conf").display()));
    let content = BundleContent {
        files: vec![file(&agent.file("app.conf"), "better\n")],
        validate: sh("test -d $MUSTER_STAGE"),
        on_change: sh(&format!("echo told > {}", agent.file("told").display())),
        probe: looks,
        ..Default::default()
    };
    let (_, sha256) = operator.bundle("app", content).await;
    operator.assign("app", "role=web", "app").await;
    assert_eq!(operator.until_attempted(&agent.node, ITEM, &sha256).await.outcome(), ItemOutcome::Applied);
    assert_eq!(
        (agent.read("app.conf").as_deref(), agent.read("told").as_deref()),
        (Some("better\n"), Some("told\n"))
    );
}

#[tokio::test]
async fn an_assignment_follows_its_selector_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent, _) = one_good(folder.path()).await;
    let label = async |role: &str| {
        let labels = [("role".to_owned(), role.to_owned())].into();
        let node = pb::Node { id: agent.node.clone(), labels, ..Default::default() };
        let request = pb::UpdateNodeRequest { node: Some(node), ..Default::default() };
        operator.nodes.clone().update_node(request).await.unwrap();
    };
    label("db").await;
    operator.until("the item is gone", &agent.node, |node| reported(node, ITEM).is_none()).await;
    assert_eq!(agent.read("app.conf"), None);
    label("web").await;
    operator.until("the item is back", &agent.node, |node| reported(node, ITEM).is_some()).await;
    assert_eq!(agent.read("app.conf").as_deref(), Some("good\n"));
    let request = pb::DeleteAssignmentRequest { name: "app".to_owned(), etag: String::new() };
    operator.assignments.clone().delete_assignment(request).await.unwrap();
    operator.until("the item is gone", &agent.node, |node| reported(node, ITEM).is_none()).await;
}

#[tokio::test]
async fn a_path_that_the_host_does_not_allow_and_a_forbidden_hook_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent, good) = one_good(folder.path()).await;
    let outside = folder.path().join("outside.conf");
    let content = BundleContent {
        files: vec![file(&outside, "x"), file(&agent.file("app.conf"), "half\n")],
        ..Default::default()
    };
    let (_, sha256) = operator.bundle("app", content).await;
    operator.assign("app", "role=web", "app").await;
    let state = operator.until_attempted(&agent.node, ITEM, &sha256).await;
    assert_eq!(error(&state), (ErrorReason::PathNotAllowed, FailureCause::Host));
    assert_eq!((state.outcome(), running(&state)), (ItemOutcome::Rejected, good.as_slice()));
    assert!(!outside.exists());
    assert_eq!(agent.read("app.conf").as_deref(), Some("good\n"), "nothing half applied");

    agent.rules("[hooks]\nallow = false\n");
    let content = BundleContent {
        files: vec![file(&agent.file("app.conf"), "hooked\n")],
        probe: sh("true"),
        ..Default::default()
    };
    let (_, sha256) = operator.bundle("app", content).await;
    operator.assign("app", "role=web", "app").await;
    let state = operator.until_attempted(&agent.node, ITEM, &sha256).await;
    assert_eq!(error(&state), (ErrorReason::HookDenied, FailureCause::Host));
    assert_eq!(agent.read("app.conf").as_deref(), Some("good\n"));
}

#[tokio::test]
async fn settings_reach_the_agent_and_the_host_has_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(folder.path(), "host", muster_tests::agent::OPEN);
    agent.configure("[settings]\nlog-level = \"debug\"\n");
    agent.connect(&plane.join(1, &[]).await);
    agent.run();
    let values = [("facts-interval", "1m"), ("log-level", "warn")];
    let values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let profile = pb::SettingsProfile { name: "base".to_owned(), values, ..Default::default() };
    let request = pb::PutSettingsProfileRequest { profile: Some(profile), validate_only: false };
    operator.settings.clone().put_settings_profile(request).await.unwrap();
    let target = pb::SettingsTarget { profile: "base".to_owned(), version: 0 };
    let target = pb::assignment::Target::Settings(target);
    let assignment = pb::Assignment {
        name: "base".to_owned(),
        selector: "*".to_owned(),
        target: Some(target),
        ..Default::default()
    };
    let request = pb::CreateAssignmentRequest { assignment: Some(assignment), validate_only: false };
    operator.assignments.clone().create_assignment(request).await.unwrap();
    eventually("the settings are in force", LONG, || async {
        let shown = agent.cli(&["show", "settings.facts-interval"]);
        String::from_utf8_lossy(&shown.stdout).starts_with("1m (control plane)").then_some(())
    })
    .await;
    let shown = agent.cli(&["show", "settings.log-level"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "debug (configuration file)");
    let node = operator.node(&agent.node).await.unwrap();
    let desired = node.items.iter().find(|item| item.item == "settings").unwrap().desired.clone().unwrap();
    let payload = br#"{"facts-interval":"1m","log-level":"warn"}"#;
    assert_eq!(desired.sha256.as_ref(), Sha256::of(payload).as_bytes(), "hashed as sent");
}
