//! What a host says of itself to somebody who stands before it, with a control plane, without
//! one, and without an agent.

use std::fs;

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::BundleContent,
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, file, sh},
    plane::{Options, Plane},
};
use serde_json::Value;

/// A host with an item in each state that a host can be in for long.
struct Lab {
    plane: Plane,
    operator: Operator,
    agent: Agent,
}

impl Lab {
    async fn new(folder: &std::path::Path) -> Self {
        let plane = Plane::start(folder, &Options::default()).await;
        let operator = plane.operator().await;
        let agent = Agent::start(folder, "host", &plane.join(1, &[("role", "web")]).await);
        operator.until_liveness(&agent.node, Liveness::Online).await;
        let lab = Self { plane, operator, agent };
        for name in ["good", "drifted", "refused", "locked"] {
            lab.gives(name, lab.content(name)).await;
        }
        fs::write(lab.agent.file("drifted"), "theirs\n").unwrap();
        let no = sh("echo why; exit 1");
        lab.gives("refused", BundleContent { probe: no, ..lab.content("refused") }).await;
        let outside = BundleContent { files: vec![file(&folder.join("outside"), "x")], ..Default::default() };
        lab.gives("locked", outside).await;
        lab
    }

    fn content(&self, name: &str) -> BundleContent {
        BundleContent { files: vec![file(&self.agent.file(name), "ours\n")], ..Default::default() }
    }

    async fn gives(&self, name: &str, content: BundleContent) {
        let (_, sha256) = self.operator.bundle(name, content).await;
        self.operator.assign(name, "role=web", name).await;
        self.operator.until_attempted(&self.agent.node, &format!("bundle/{name}"), &sha256).await;
    }

    fn explain(&self) -> Value {
        let done = self.agent.cli(&["explain", "--json"]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    async fn until_connection(&self, verdict: &str) -> Value {
        eventually(&format!("the host says {verdict}"), LONG, || {
            let told = self.explain();
            let is = told.pointer("/connection/verdict") == Some(&verdict.into());
            std::future::ready(is.then_some(told))
        })
        .await
    }

    /// What operators are told of an item: the verdict, and what the host and its delivery are about.
    async fn of_control_plane(&self, item: &str) -> (String, Vec<String>) {
        let request = pb::ExplainItemRequest { id: self.agent.node.clone(), item: item.to_owned() };
        let told = self.operator.nodes.clone().explain_item(request).await.unwrap().into_inner();
        let reasons =
            told.reasons.iter().filter(|reason| reason.about == "Host" || reason.about == "Delivery");
        (told.verdict, reasons.map(|reason| reason.text.clone()).collect())
    }
}

fn items(told: &Value) -> &Vec<Value> {
    told["items"].as_array().unwrap()
}

fn item<'a>(told: &'a Value, name: &str) -> &'a Value {
    items(told).iter().find(|item| item["item"] == name).unwrap_or_else(|| panic!("{name} in {told:#}"))
}

fn verdicts(told: &Value) -> Vec<(&str, &str)> {
    items(told).iter().map(|it| (it["item"].as_str().unwrap(), it["verdict"].as_str().unwrap())).collect()
}

fn reasons(item: &Value, about: &[&str]) -> Vec<String> {
    let all = item["reasons"].as_array().unwrap().iter();
    let of = all.filter(|reason| about.contains(&reason["about"].as_str().unwrap()));
    of.map(|reason| reason["text"].as_str().unwrap().to_owned()).collect()
}

const ALL: [(&str, &str); 4] = [
    ("bundle/drifted", "Drifted"),
    ("bundle/good", "InSync"),
    ("bundle/locked", "RetriedByHost"),
    ("bundle/refused", "Refused"),
];

#[tokio::test]
async fn a_host_says_why_in_the_words_of_its_control_plane_and_goes_on_saying_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path()).await;
    eventually("all is written down", LONG, || {
        std::future::ready((verdicts(&lab.explain()) == ALL).then_some(()))
    })
    .await;
    let told = lab.until_connection("Connected").await;
    for (name, verdict) in ALL {
        let (theirs, of_host) = lab.of_control_plane(name).await;
        assert_eq!(theirs, verdict, "{name}");
        let ours = reasons(item(&told, name), &["Host", "Delivery"]);
        assert_eq!(ours.len(), of_host.len(), "{name}");
        let same = ours.iter().zip(&of_host).all(|(ours, theirs)| ours.starts_with(theirs.as_str()));
        assert!(same, "{name}: {ours:?} and {of_host:?}");
    }
    lab.plane.kill();
    let alone = lab.until_connection("CutOff").await;
    assert_eq!(verdicts(&alone), ALL);
    let connection = &alone["connection"];
    assert!(!connection["error"].as_str().unwrap().is_empty(), "{connection}");
    assert!(connection["next-try"].is_i64() && connection["last-contact"].is_i64(), "{connection}");
    let since = connection["since"].clone();
    assert!(item(&alone, "bundle/locked")["retry-at"].is_i64());
    assert_eq!(item(&alone, "bundle/refused")["output"], "why\n");
    assert!(reasons(item(&alone, "bundle/drifted"), &["Drift"])[0].contains("drifted: content, since 2"));
    lab.agent.kill();
    let dead = lab.until_connection("NotRunning").await;
    assert_eq!((verdicts(&dead), &dead["connection"]["since"]), (ALL.to_vec(), &since));
}

#[tokio::test]
async fn a_change_that_waits_for_its_confirmation_says_until_when() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(folder.path(), "host", OPEN);
    agent.connect(&plane.join(1, &[("role", "web")]).await);
    agent.run_with(&[("MUSTER_CRASH_AT", "agent.apply.unconfirmed")]);
    let lab = Lab { plane, operator, agent };
    let content = BundleContent { confirm_after_s: 60, ..lab.content("new") };
    lab.operator.bundle("new", content).await;
    lab.operator.assign("new", "role=web", "new").await;
    let told = lab.until_connection("NotRunning").await;
    assert_eq!(verdicts(&told), [("bundle/new", "OnItsWay")]);
    let why = reasons(item(&told, "bundle/new"), &["Confirmation"]);
    assert!(why[0].contains("kept if a new session opens until 2"), "{why:?}");
    let until = item(&told, "bundle/new").pointer("/under-way/confirm-until").unwrap();
    assert!(until.is_i64());
}

#[tokio::test]
async fn people_read_it_and_what_cannot_be_told_has_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let told = lab.agent.cli(&["explain", "bundle/refused"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.starts_with("connection: Connected since 2"), "{text}");
    assert!(
        text.contains("bundle/refused: Refused\n  - Host: the host runs version 1 of it; it tried version 2")
    );
    assert!(text.contains("\n    | why\n") && !text.contains("bundle/good"), "{text}");
    lab.agent.rules("[commands]\nrun-script = 7\n");
    let locked = lab.agent.cli(&["explain"]);
    let text = String::from_utf8_lossy(&locked.stdout).into_owned();
    assert!(text.contains("everything is locked: "), "{text}");
    assert!(text.contains("- LocalLock: the lock file of this host allows no writing to "), "{text}");
    assert_eq!(lab.agent.cli(&["explain", "bundle/unheard-of"]).status.code(), Some(22));
    let stranger = Agent::host(folder.path(), "stranger", OPEN);
    assert_eq!(stranger.cli(&["explain"]).status.code(), Some(13));
}
