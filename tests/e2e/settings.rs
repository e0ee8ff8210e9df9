//! Options of real agents: versions that come in steps, and what a host keeps for itself.

use std::{path::Path, time::Duration};

use muster_proto::{
    admin::v1::{self as pb, Liveness, RolloutPhase, create_rollout_request, rollout_step, share},
    types::v1::{ConditionStatus, EffectiveSetting, SettingOrigin},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::Operator,
    plane::{Options, Plane},
};

async fn plane(folder: &Path) -> (Plane, Operator) {
    let options = Options { heartbeat: Duration::from_millis(300), ..Options::default() };
    let plane = Plane::start(folder, &options).await;
    let operator = plane.operator().await;
    (plane, operator)
}

/// An option of a node as it is in force, in words.
fn in_force(node: &pb::Node, key: &str) -> Option<String> {
    let settings = &node.facts.as_ref()?.settings;
    let found = settings.iter().find(|setting| setting.key == key)?;
    let EffectiveSetting { value, desired, profile, profile_version, .. } = found;
    Some(match found.origin() {
        SettingOrigin::ControlPlane => format!("{value} by {profile}/{profile_version}"),
        SettingOrigin::Lock => format!("{value} locked, not {desired}"),
        SettingOrigin::Configuration => format!("{value} configured, not {desired}"),
        SettingOrigin::Default if desired.is_empty() => format!("{value} by default"),
        SettingOrigin::Default => format!("{value} by default, not {desired}"),
        SettingOrigin::Unspecified => format!("{value} by nobody"),
    })
}

/// How many of some nodes have an option so in force.
async fn count(operator: &Operator, agents: &[Agent], key: &str, value: &str) -> usize {
    let mut count = 0;
    for agent in agents {
        let node = operator.node(&agent.node).await.expect("the node");
        count += usize::from(in_force(&node, key).as_deref() == Some(value));
    }
    count
}

async fn until_count(operator: &Operator, agents: &[Agent], value: &str, wanted: usize) {
    eventually(&format!("{wanted} hosts have facts-interval {value}"), LONG, || async {
        (count(operator, agents, "facts-interval", value).await == wanted).then_some(())
    })
    .await;
}

fn plan() -> pb::RolloutPlan {
    let step = |percent| pb::RolloutStep {
        reach: Some(rollout_step::Reach::Percent(percent)),
        approval: true,
        ..Default::default()
    };
    let max_failed = Some(pb::Share { part: Some(share::Part::Count(0)) });
    pb::RolloutPlan { steps: vec![step(25), step(100)], max_failed, ..Default::default() }
}

async fn begin(operator: &Operator, version: u64) -> String {
    let target = pb::SettingsTarget { profile: "pace".to_owned(), version };
    let request = pb::CreateRolloutRequest {
        assignment: "pace".to_owned(),
        target: Some(create_rollout_request::Target::Settings(target)),
        plan: Some(plan()),
        ..Default::default()
    };
    let made = operator.rollouts.clone().create_rollout(request).await.unwrap().into_inner();
    made.rollout.unwrap().id
}

/// Waits until the rollout wants a yes to this step, and says it.
async fn approve(operator: &Operator, id: &str, step: u32) {
    let is = |it: &pb::Rollout| {
        it.step == step && it.waits_for.as_ref().is_some_and(|waits| waits.reason == "Approval")
    };
    until(operator, id, &format!("step {step} wants a yes"), is).await;
    let request = pb::ApproveRolloutRequest { id: id.to_owned(), ..Default::default() };
    operator.rollouts.clone().approve_rollout(request).await.unwrap();
}

async fn until(operator: &Operator, id: &str, what: &str, is: impl Fn(&pb::Rollout) -> bool) {
    let is = &is;
    eventually(what, LONG, || async move {
        let request = pb::GetRolloutRequest { id: id.to_owned() };
        let found = operator.rollouts.clone().get_rollout(request).await.unwrap().into_inner();
        found.rollout.filter(|it| is(it)).map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_version_of_a_profile_comes_to_hosts_in_steps_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, operator) = plane(folder.path()).await;
    let join = plane.join(4, &[]).await;
    let agents: Vec<Agent> =
        (0..4).map(|n| Agent::start(folder.path(), &format!("host-{n}"), &join)).collect();
    assert_eq!(operator.profile("pace", &[("facts-interval", "1m")]).await, 1);
    operator.assign_profile("*", "pace", 0).await;
    until_count(&operator, &agents, "1m by pace/1", 4).await;

    assert_eq!(operator.profile("pace", &[("facts-interval", "2m")]).await, 2);
    let id = begin(&operator, 2).await;
    assert_eq!(count(&operator, &agents, "facts-interval", "1m by pace/1").await, 4, "nobody has it yet");
    approve(&operator, &id, 1).await;
    until_count(&operator, &agents, "2m by pace/2", 1).await;
    assert_eq!(count(&operator, &agents, "facts-interval", "1m by pace/1").await, 3);
    approve(&operator, &id, 2).await;
    until(&operator, &id, "it has succeeded", |it| it.phase() == RolloutPhase::Succeeded).await;
    until_count(&operator, &agents, "2m by pace/2", 4).await;

    assert_eq!(operator.profile("pace", &[("facts-interval", "3m")]).await, 3);
    let id = begin(&operator, 3).await;
    approve(&operator, &id, 1).await;
    until_count(&operator, &agents, "3m by pace/3", 1).await;
    let back = pb::RollBackRolloutRequest { id: id.clone(), ..Default::default() };
    operator.rollouts.clone().roll_back_rollout(back).await.unwrap();
    until_count(&operator, &agents, "2m by pace/2", 4).await;
    until(&operator, &id, "it is back", |it| it.phase() == RolloutPhase::RolledBack).await;
}

async fn explained(operator: &Operator, node: &str) -> (String, Vec<String>) {
    let request = pb::ExplainItemRequest { id: node.to_owned(), item: "settings".to_owned() };
    let answer = operator.nodes.clone().explain_item(request).await.unwrap().into_inner();
    let reasons = answer.reasons.into_iter().filter(|it| it.about == "LocalLock" || it.about == "Profile");
    (answer.verdict, reasons.map(|it| it.text).collect())
}

#[tokio::test]
async fn a_local_lock_wins_is_told_and_is_followed_while_the_session_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, operator) = plane(folder.path()).await;
    let locked = |level: &str| format!("{OPEN}[settings]\nlog-level = {level:?}\n");
    let mut agent = Agent::host(folder.path(), "host", &locked("debug"));
    agent.connect(&plane.join(1, &[]).await);
    agent.run();
    operator.profile("quiet", &[("facts-interval", "1m"), ("log-level", "warn")]).await;
    operator.assign_profile("*", "quiet", 1).await;
    let is = |key: &'static str, value: &'static str| {
        move |node: &pb::Node| in_force(node, key).as_deref() == Some(value)
    };
    let id = agent.node.as_str();
    operator.until("the lock is told", id, is("log-level", "debug locked, not warn")).await;
    let node = operator.until("the profile is told", id, is("facts-interval", "1m by quiet/1")).await;
    let session = node.connection.unwrap().session_id;
    let (verdict, reasons) = explained(&operator, id).await;
    assert_eq!(verdict, "InSync");
    let of_version_1 = r#"of assignment "quiet""#;
    assert_eq!(
        reasons,
        [
            format!(r#""facts-interval" is "1m" by version 1 of settings profile "quiet", {of_version_1}"#),
            format!(r#""log-level" is "warn" by version 1 of settings profile "quiet", {of_version_1}"#),
            r#"the host keeps "log-level" at "debug", not "warn": its lock file says so"#.to_owned(),
        ]
    );
    let show =
        |property: &str| String::from_utf8_lossy(&agent.cli(&["show", property]).stdout).trim().to_owned();
    assert_eq!(show("settings.log-level"), "debug (lock file)");
    assert!(agent.log().contains("DEBUG"), "the level is in force: {}", agent.log());

    agent.rules(OPEN);
    operator.until("the lock is gone", id, is("log-level", "warn by quiet/1")).await;
    assert_eq!(show("settings.log-level"), "warn (control plane)");

    agent.rules(&locked("loud"));
    let node = operator.until("everything is locked", id, is("log-level", "info by default, not warn")).await;
    assert_eq!(in_force(&node, "facts-interval").as_deref(), Some("10m by default, not 1m"));
    let wrong = |node: &pb::Node| {
        let found = node.conditions.iter().find(|condition| condition.r#type == "LockFileOk");
        found.is_some_and(|it| it.status() == ConditionStatus::False && it.message.contains("loud"))
    };
    let node = operator.until("the wrong line is told", id, wrong).await;
    assert_eq!(show("settings.log-level"), "info (default)");
    assert!(show("locks-error").contains("loud"), "{}", show("locks-error"));
    assert_eq!(node.connection.unwrap().session_id, session, "all of it in one session");

    // What is in force is the same for a process that begins with it.
    assert!(agent.process().stop().await.success());
    let id = agent.node.as_str();
    operator.until_liveness(id, Liveness::Offline).await;
    agent.rules(&locked("error"));
    agent.run();
    let id = agent.node.as_str();
    operator.until("the lock is told anew", id, is("log-level", "error locked, not warn")).await;
}
