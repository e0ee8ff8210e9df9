//! The fleet console in a browser: Chromium, driven by Playwright. With `MUSTER_SCREENSHOTS` a
//! picture of each page is left in that folder.

use std::{path::Path, time::Duration};

use muster_proto::{
    admin::v1::{self as pb, rollout_step},
    types::v1 as types,
};
use muster_tests::{
    agent::{Agent, OPEN},
    binaries::repository,
    eventually::{LONG, eventually},
    netns::Network,
    operator::{Operator, file},
    plane::{Options, Plane},
    process::Process,
};

use super::fleet_console::rename;

/// The same path on every host of this machine.
const PATH: &str = "/proc/self/cwd/app.conf";
/// All that the browser does, on a busy machine.
const WHOLE: Duration = Duration::from_secs(180);
const HOSTS: [(&str, &str); 4] =
    [("web-1", "north"), ("web-2", "north"), ("web-3", "south"), ("db-1", "south")];

async fn plane(folder: &Path, network: &Network) -> Plane {
    let options = Options { heartbeat: Duration::from_millis(300), ..Options::default() };
    let mut plane = Plane::init(folder, &options);
    plane.configure_in("fleet-console", "listen", &format!("\"{}:0\"", network.gateway()));
    plane.configure_in("fleet-console", "sample-every", "\"1s\"");
    plane.serve(&[]).await;
    plane
}

/// Hosts in the fleet, with their sites.
async fn hosts(plane: &Plane, folder: &Path) -> Vec<Agent> {
    let mut agents = Vec::new();
    for (name, site) in HOSTS {
        let role = name.split('-').next().unwrap();
        let join = plane.join(1, &[("role", role), ("site", site)]).await;
        let mut agent = Agent::host(folder, name, OPEN);
        agent.allow(&["/proc/self/cwd".into()], OPEN);
        agent.connect(&join);
        agent.run();
        agents.push(agent);
    }
    agents
}

/// A rollout that waits for a person's yes; answers its id.
async fn rollout(operator: &Operator, agents: &[Agent]) -> String {
    let content =
        |text| types::BundleContent { files: vec![file(Path::new(PATH), text)], ..Default::default() };
    operator.bundle("app", content("one\n")).await;
    operator.assign("app", "role=web", "app").await;
    eventually("the first version is there", LONG, || async {
        let all = agents.iter().take(3).all(|agent| agent.read("app.conf").as_deref() == Some("one\n"));
        all.then_some(())
    })
    .await;
    let (version, _) = operator.bundle("app", content("two\n")).await;
    let step = |percent| pb::RolloutStep {
        reach: Some(rollout_step::Reach::Percent(percent)),
        approval: true,
        ..Default::default()
    };
    let bundle = pb::BundleTarget { name: "app".to_owned(), version };
    let request = pb::CreateRolloutRequest {
        assignment: "app".to_owned(),
        target: Some(pb::create_rollout_request::Target::Bundle(bundle)),
        plan: Some(pb::RolloutPlan { steps: vec![step(34), step(100)], ..Default::default() }),
        ..Default::default()
    };
    operator.rollouts.clone().create_rollout(request).await.unwrap().into_inner().rollout.unwrap().id
}

async fn approve(operator: &Operator, id: &str, step: u32) {
    let request = pb::ApproveRolloutRequest { id: id.to_owned(), step, ..Default::default() };
    eventually("the step can be approved", LONG, || async {
        operator.rollouts.clone().approve_rollout(request.clone()).await.ok()
    })
    .await;
}

async fn alerts(operator: &Operator) -> Vec<pb::Alert> {
    let request = pb::ListAlertsRequest::default();
    operator.alerts.clone().list_alerts(request).await.unwrap().into_inner().alerts
}

async fn acknowledge(operator: &Operator, rule: &str) {
    let alert = eventually("the alert has begun", LONG, || async {
        alerts(operator).await.into_iter().find(|alert| alert.rule == rule)
    });
    let request =
        pb::AcknowledgeAlertRequest { id: alert.await.id, comment: "it moves to another rack".to_owned() };
    operator.alerts.clone().acknowledge_alert(request).await.unwrap();
}

/// A node that is locked up, which two rules find: one alert is looked after, one is open.
async fn lock_up(operator: &Operator, node: &str) {
    let rule = pb::AlertRule {
        name: "locked-up".to_owned(),
        kind: pb::AlertKind::Quarantine as i32,
        selector: "role=db".to_owned(),
        severity: pb::AlertSeverity::Warning as i32,
        ..Default::default()
    };
    let request = pb::CreateAlertRuleRequest { rule: Some(rule) };
    operator.alerts.clone().create_alert_rule(request).await.unwrap();
    let request = pb::QuarantineNodeRequest { id: node.to_owned(), reason: "it moves".to_owned() };
    operator.nodes.clone().quarantine_node(request).await.unwrap();
    acknowledge(operator, "locked-up").await;
    eventually("the other one is there", LONG, || async {
        (alerts(operator).await.len() == 2).then_some(())
    })
    .await;
}

/// Whether the browser says a word, before it ends.
async fn says(browser: &mut Process, word: &str) -> bool {
    eventually("the browser comes to it", WHOLE, || {
        let said = browser.log().lines().any(|line| line == word);
        std::future::ready(if said { Some(true) } else { browser.has_ended().map(|_| false) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_finds_a_node_watches_a_rollout_and_alerts_and_has_nothing_to_complain_of() {
    let folder = tempfile::tempdir().unwrap();
    // A browser breaks off what it loads when its machine gets a network device, as other tests make them.
    let network = Network::create();
    let apart = network.join();
    let plane = plane(folder.path(), &network).await;
    let agents = hosts(&plane, folder.path()).await;
    let operator = plane.operator().await;
    let rollout = rollout(&operator, &agents).await;
    approve(&operator, &rollout, 1).await;
    lock_up(&operator, &agents[3].node).await;

    let tools = repository().join(".tools/console");
    let given = serde_json::json!({
        "modules": tools, "chromium": "/usr/bin/chromium",
        "link": plane.cli(&["console-link", "--role", "security-admin"]).trim(),
        "selector": "role=web,site=south", "name": "web-3", "rollout": rollout, "nodes": 3,
        "shots": std::env::var("MUSTER_SCREENSHOTS").ok().map(|folder| repository().join(folder)),
    });
    let mut drive = apart.command("node");
    drive.arg(repository().join("tests/console/drive.mjs")).arg(given.to_string()).env("HOME", folder.path());
    let mut browser = Process::start(drive, &folder.path().join("browser"));
    if says(&mut browser, "rows").await {
        rename(&operator, &agents[2].node, "web-3-renamed").await;
    }
    if says(&mut browser, "watching").await {
        approve(&operator, &rollout, 2).await;
    }
    if says(&mut browser, "alerted").await {
        acknowledge(&operator, "quarantine").await;
    }
    let ended = eventually("the browser is done", WHOLE, || std::future::ready(browser.has_ended())).await;
    assert!(ended.success(), "{}", browser.log());
}
