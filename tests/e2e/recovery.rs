//! Hosts that are interrupted, full or locked come to the desired state by themselves.

use muster_common::ids::NodeId;
use muster_proto::{
    admin::v1::Liveness,
    types::v1::{BundleContent, ErrorReason, FailureCause, ItemOutcome, ItemState},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, file, reported, sh},
    plane::{Options, Plane},
};

const ITEM: &str = "bundle/app";

async fn host(folder: &std::path::Path) -> (Plane, Operator, Agent) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[("role", "web")]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    (plane, operator, agent)
}

fn one(agent: &Agent, text: &str) -> BundleContent {
    BundleContent { files: vec![file(&agent.file("app.conf"), text)], ..Default::default() }
}

fn failed(state: &ItemState, reason: ErrorReason, cause: FailureCause) -> bool {
    state.error.as_ref().is_some_and(|error| (error.reason(), error.cause()) == (reason, cause))
}

async fn give(operator: &Operator, content: BundleContent) -> Vec<u8> {
    let (_, sha256) = operator.bundle("app", content).await;
    operator.assign("app", "role=web", "app").await;
    sha256
}

async fn until_runs(operator: &Operator, agent: &Agent, sha256: &[u8]) {
    let runs = |state: &ItemState| state.running.as_ref().is_some_and(|it| it.sha256 == sha256);
    operator.until("it runs", &agent.node, |node| reported(node, ITEM).is_some_and(runs)).await;
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_host_that_was_locked_applies_when_its_owner_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    agent.rules("[hooks]\nallow = false\n");
    let hooked = give(&operator, BundleContent { probe: sh("true"), ..one(&agent, "hooked\n") }).await;
    let state = operator.until_attempted(&agent.node, ITEM, &hooked).await;
    assert!(failed(&state, ErrorReason::HookDenied, FailureCause::Host));
    agent.rules(OPEN);
    until_runs(&operator, &agent, &hooked).await;
    assert_eq!(agent.read("app.conf").as_deref(), Some("hooked\n"));
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_not_tried_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let good = give(&operator, one(&agent, "good\n")).await;
    until_runs(&operator, &agent, &good).await;
    agent.rules("[hooks]\nallow = false\n");
    let hooked = give(&operator, BundleContent { probe: sh("true"), ..one(&agent, "hooked\n") }).await;
    operator.until_attempted(&agent.node, ITEM, &hooked).await;
    give(&operator, one(&agent, "good\n")).await;
    let state = operator.until_attempted(&agent.node, ITEM, &good).await;
    assert_eq!((state.outcome(), state.error.is_none()), (ItemOutcome::Unchanged, true));
}

#[tokio::test]
async fn a_removal_that_fails_is_told_and_is_not_tried_over_and_over() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let runs = agent.file("runs");
    let script = format!("echo x >> {0}; test $(wc -l < {0}) = 1", runs.display());
    let content = BundleContent { on_change: sh(&script), ..one(&agent, "good\n") };
    let good = give(&operator, content).await;
    until_runs(&operator, &agent, &good).await;
    let request =
        muster_proto::admin::v1::DeleteAssignmentRequest { name: "app".to_owned(), etag: String::new() };
    operator.assignments.clone().delete_assignment(request).await.unwrap();
    let refused = |state: &ItemState| state.error.is_some();
    operator.until("the removal failed", &agent.node, |node| reported(node, ITEM).is_some_and(refused)).await;
    let tried = agent.read("runs");
    // Something else goes all the way meanwhile: a loop would have shown by then.
    let (_, other) = operator
        .bundle("other", BundleContent { files: vec![file(&agent.file("other"), "x")], ..Default::default() })
        .await;
    operator.assign("other", "role=web", "other").await;
    operator.until_attempted(&agent.node, "bundle/other", &other).await;
    assert_eq!((agent.read("runs"), agent.read("app.conf").as_deref()), (tried, Some("good\n")));
}

#[tokio::test]
async fn a_hook_does_not_outlive_an_agent_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agent) = host(folder.path()).await;
    let pid = agent.file("pid");
    // The first time it would run for ever; afterwards it ends.
    let script =
        format!("test -e {0} && exit 0; echo $$ > {0}.new; mv {0}.new {0}; sleep 600", pid.display());
    let content = BundleContent {
        on_change: sh(&script).map(|hook| muster_proto::types::v1::Hook { timeout_s: 600, ..hook }),
        ..one(&agent, "hooked\n")
    };
    let hooked = give(&operator, content).await;
    let hook = eventually("the hook runs", LONG, || async { agent.read("pid") }).await;
    assert!(is_alive(&hook));
    agent.kill();
    agent.run();
    until_runs(&operator, &agent, &hooked).await;
    assert!(!is_alive(&hook));
}

#[tokio::test]
async fn a_bundle_that_ends_the_agent_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agent) = host(folder.path()).await;
    let good = give(&operator, one(&agent, "good\n")).await;
    until_runs(&operator, &agent, &good).await;
    let bad = give(&operator, BundleContent { on_change: sh("kill -9 $PPID"), ..one(&agent, "bad\n") }).await;
    for _ in 0..3 {
        agent.process().ended().await;
        agent.run();
    }
    let state = operator.until_attempted(&agent.node, ITEM, &bad).await;
    assert!(failed(&state, ErrorReason::CutOff, FailureCause::Content), "{state:?}");
    assert_eq!(state.outcome(), ItemOutcome::RolledBack);
    assert!(agent.process().is_running());
    assert_eq!(agent.read("app.conf").as_deref(), Some("good\n"));
}

#[tokio::test]
async fn a_host_that_leaves_in_the_middle_of_a_change_returns_to_what_it_ran() {
    for agent_is_killed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (_plane, operator, mut agent) = host(folder.path()).await;
        let good = give(&operator, one(&agent, "good\n")).await;
        until_runs(&operator, &agent, &good).await;
        let started = agent.file("started");
        let script = format!("echo x > {}; sleep 600", started.display());
        let content = BundleContent {
            on_change: sh(&script).map(|hook| muster_proto::types::v1::Hook { timeout_s: 600, ..hook }),
            ..one(&agent, "half\n")
        };
        give(&operator, content).await;
        eventually("the hook runs", LONG, || async { agent.read("started") }).await;
        assert_eq!(agent.read("app.conf").as_deref(), Some("half\n"));
        if agent_is_killed {
            agent.kill();
        }
        assert!(agent.cli(&["disconnect"]).status.success());
        let node: NodeId = agent.node.parse().unwrap();
        eventually("what belonged to the node is gone", LONG, || async {
            (!agent.state().join("nodes").join(node.to_string()).exists()).then_some(())
        })
        .await;
        assert_eq!(agent.read("app.conf").as_deref(), Some("good\n"), "killed: {agent_is_killed}");
    }
}
