//! Changes that are kept only if the host still reaches its control plane with them.

use std::fs;

use muster_proto::{
    admin::v1::Liveness,
    types::v1::{BundleContent, ErrorReason, FailureCause, ItemOutcome, ItemState},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, file, reported, sh},
    plane::{Options, Plane},
    relay::Relay,
};

const ITEM: &str = "bundle/app";

/// A host whose way to the control plane leads through its own firewall: no new connection
/// comes through while its file `firewall` says "closed".
struct Lab {
    plane: Plane,
    operator: Operator,
    agent: Agent,
    _relay: Relay,
}

impl Lab {
    async fn new(folder: &std::path::Path) -> Self {
        let mut plane = Plane::start(folder, &Options::default()).await;
        let mut agent = Agent::host(folder, "host", OPEN);
        let firewall = agent.file("firewall");
        let is_open = move || fs::read_to_string(&firewall).unwrap_or_default() != "closed\n";
        let relay = Relay::start(plane.addresses().agents, is_open).await;
        plane.configure("session-addresses", &format!("[\"{}\"]", relay.address()));
        plane.kill();
        plane.serve(&[]).await;
        let operator = plane.operator().await;
        agent.connect(&plane.join(1, &[("role", "web")]).await);
        agent.run();
        operator.until_liveness(&agent.node, Liveness::Online).await;
        Self { plane, operator, agent, _relay: relay }
    }

    fn content(&self, text: &str) -> BundleContent {
        let files = ["firewall", "more"].map(|name| file(&self.agent.file(name), text)).to_vec();
        let log = self.agent.file("../told");
        let on_change = sh(&format!("cat {} >> {}", self.agent.file("firewall").display(), log.display()));
        BundleContent { files, on_change, confirm_after_s: 10, ..Default::default() }
    }

    async fn give(&self, content: BundleContent) -> Vec<u8> {
        let (_, sha256) = self.operator.bundle("app", content).await;
        self.operator.assign("app", "role=web", "app").await;
        sha256
    }

    async fn becomes_of(&self, content: BundleContent) -> ItemState {
        let sha256 = self.give(content).await;
        self.operator.until_attempted(&self.agent.node, ITEM, &sha256).await
    }

    async fn until_runs(&self, sha256: &[u8]) {
        let runs = |state: &ItemState| state.running.as_ref().is_some_and(|it| it.sha256 == sha256);
        let node = &self.agent.node;
        self.operator.until("it runs", node, |node| reported(node, ITEM).is_some_and(runs)).await;
    }

    fn files(&self) -> [Option<String>; 2] {
        ["firewall", "more"].map(|name| self.agent.read(name))
    }
}

fn both(text: &str) -> [Option<String>; 2] {
    [(); 2].map(|()| Some(text.to_owned()))
}

#[tokio::test]
async fn a_change_that_cuts_its_host_off_is_undone_and_counts_against_the_version() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let good = lab.becomes_of(lab.content("open\n")).await;
    // Its facts may have come in between: then it was offered once more, and is there already.
    let is_there = matches!(good.outcome(), ItemOutcome::Applied | ItemOutcome::Unchanged);
    assert!(is_there && lab.files() == both("open\n"), "{good:?}");
    let bad = lab.becomes_of(lab.content("closed\n")).await;
    let error = bad.error.as_ref().expect("it says why");
    assert_eq!((error.reason(), error.cause()), (ErrorReason::NotConfirmed, FailureCause::Content));
    let bytes = |state: &ItemState| state.running.as_ref().map(|it| it.sha256.clone());
    assert_eq!(bytes(&bad), bytes(&good), "what runs is the last good version");
    assert_eq!(lab.files(), both("open\n"));
    assert_eq!(lab.agent.read("../told").as_deref(), Some("open\nclosed\nopen\n"));
    let better = lab.becomes_of(lab.content("open, and better\n")).await;
    assert_eq!((better.outcome(), lab.files()), (ItemOutcome::Applied, both("open, and better\n")));
}

#[tokio::test]
async fn a_control_plane_that_goes_away_meanwhile_counts_against_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path()).await;
    lab.becomes_of(lab.content("old\n")).await;
    let (reached, go) = (lab.agent.file("../reached"), lab.agent.file("../go"));
    let waits = format!("touch {}; until test -e {}; do sleep 0.02; done", reached.display(), go.display());
    let content = BundleContent { probe: sh(&waits), ..lab.content("new\n") };
    let sha256 = lab.give(content).await;
    eventually("the files are in place", LONG, || std::future::ready(reached.exists().then_some(()))).await;
    assert_eq!(lab.files(), both("new\n"));
    lab.plane.kill();
    fs::write(&go, "").unwrap();
    eventually("they are undone", LONG, || std::future::ready((lab.files() == both("old\n")).then_some(())))
        .await;
    let record = lab.agent.state().join("nodes").join(&lab.agent.node).join("items/records/bundle+app.json");
    let told = eventually("the host has made up its mind", LONG * 2, || {
        let record = fs::read_to_string(&record).unwrap_or_default();
        std::future::ready(record.contains("NOT_CONFIRMED").then_some(record))
    });
    let told: serde_json::Value = serde_json::from_str(&told.await).unwrap();
    assert_eq!(told.pointer("/state/error/cause").and_then(|it| it.as_str()), Some("network"));
    lab.plane.serve(&[]).await;
    lab.operator = lab.plane.operator().await;
    lab.until_runs(&sha256).await;
    assert_eq!(lab.files(), both("new\n"), "it was tried again, and kept");
}
