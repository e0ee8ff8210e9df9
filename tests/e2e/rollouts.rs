//! Changes that are brought to real hosts in steps.

use std::{path::Path, time::Duration};

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{self as pb, Liveness, RolloutPhase, create_rollout_request, rollout_step, share},
    types::v1 as types,
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, file, reason, sh},
    plane::{Options, Plane},
};
use tonic::Status;

/// The same path on every host of this machine.
const PATH: &str = "/proc/self/cwd/app.conf";

struct Lab {
    operator: Operator,
    agents: Vec<Agent>,
    plane: Plane,
    _folder: tempfile::TempDir,
}

/// A host that keeps its own files, in the fleet.
fn host(folder: &Path, name: &str, join: &muster_common::join::JoinString) -> Agent {
    let mut agent = Agent::host(folder, name, OPEN);
    agent.allow(&["/proc/self/cwd".into()], OPEN);
    agent.connect(join);
    agent.run();
    agent
}

impl Lab {
    /// So many hosts with the first version of a bundle; a host that has a file "bad" fails
    /// the probe of later ones.
    async fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { heartbeat: Duration::from_millis(300), ..Options::default() };
        let plane = Plane::start(folder.path(), &options).await;
        let join = plane.join(i32::try_from(count).unwrap() + 5, &[("role", "web")]).await;
        let agents: Vec<Agent> =
            (0..count).map(|n| host(folder.path(), &format!("host-{n}"), &join)).collect();
        // Not before: to enroll them keeps this thread busy, and a connection of it unheard.
        let operator = plane.operator().await;
        let lab = Self { operator, agents, plane, _folder: folder };
        lab.bundle("one\n", None).await;
        lab.operator.assign("app", "role=web", "app").await;
        lab.until_read("one\n", |_| true).await;
        lab
    }

    async fn bundle(&self, content: &str, probe: Option<types::Hook>) -> u64 {
        let files = vec![file(Path::new(PATH), content)];
        self.operator.bundle("app", types::BundleContent { files, probe, ..Default::default() }).await.0
    }

    /// A version that fails on hosts with a file "bad".
    async fn second(&self) -> u64 {
        self.bundle("two\n", sh("test ! -e /proc/$PPID/cwd/bad")).await
    }

    async fn until_read(&self, content: &str, which: impl Fn(&Agent) -> bool) {
        eventually(&format!("hosts have {content:?}"), LONG, || async {
            let all = self.agents.iter().filter(|agent| which(agent));
            let all: Vec<bool> =
                all.map(|agent| agent.read("app.conf").as_deref() == Some(content)).collect();
            all.iter().all(|has| *has).then_some(())
        })
        .await;
    }

    fn count(&self, content: &str) -> usize {
        self.agents.iter().filter(|agent| agent.read("app.conf").as_deref() == Some(content)).count()
    }

    async fn begin(&self, version: u64, plan: pb::RolloutPlan) -> Result<pb::Rollout, Status> {
        let bundle = pb::BundleTarget { name: "app".to_owned(), version };
        let request = pb::CreateRolloutRequest {
            assignment: "app".to_owned(),
            target: Some(create_rollout_request::Target::Bundle(bundle)),
            plan: Some(plan),
            ..Default::default()
        };
        Ok(self.operator.rollouts.clone().create_rollout(request).await?.into_inner().rollout.unwrap())
    }

    async fn rollout(&self, id: &str) -> pb::Rollout {
        let request = pb::GetRolloutRequest { id: id.to_owned() };
        self.operator.rollouts.clone().get_rollout(request).await.unwrap().into_inner().rollout.unwrap()
    }

    async fn until(&self, id: &str, what: &str, is: impl Fn(&pb::Rollout) -> bool) -> pb::Rollout {
        let is = &is;
        eventually(what, LONG, || async move { Some(self.rollout(id).await).filter(|it| is(it)) }).await
    }

    async fn until_phase(&self, id: &str, phase: RolloutPhase) -> pb::Rollout {
        self.until(id, &format!("the rollout is {phase:?}"), |it| it.phase() == phase).await
    }
}

fn plan(steps: &[u32], max_failed: u32) -> pb::RolloutPlan {
    let step = |percent: &u32| pb::RolloutStep {
        reach: Some(rollout_step::Reach::Percent(*percent)),
        ..Default::default()
    };
    pb::RolloutPlan {
        steps: steps.iter().map(step).collect(),
        max_failed: Some(pb::Share { part: Some(share::Part::Count(max_failed)) }),
        ..Default::default()
    }
}

fn with_approval(mut plan: pb::RolloutPlan) -> pb::RolloutPlan {
    plan.steps.iter_mut().for_each(|step| step.approval = true);
    plan
}

#[tokio::test]
async fn a_bundle_whose_probe_fails_on_3_of_20_hosts_stops_at_its_threshold_and_is_gone_everywhere() {
    let lab = Lab::new(20).await;
    for agent in &lab.agents[3..6] {
        std::fs::write(agent.file("bad"), "").unwrap();
    }
    let version = lab.second().await;
    let id = lab.begin(version, plan(&[10, 50, 100], 1)).await.unwrap().id;
    let mut watch = lab
        .operator
        .rollouts
        .clone()
        .watch_rollout(pb::WatchRolloutRequest { id: id.clone() })
        .await
        .unwrap();
    let done = lab.until_phase(&id, RolloutPhase::RolledBack).await;
    assert_eq!(lab.count("one\n"), 20);
    let progress = done.progress.unwrap();
    assert_eq!((done.reason.as_str(), progress.failures["PROBE_FAILED"]), ("TooManyFailed", progress.failed));
    assert!(progress.failed == 2 || progress.failed == 3, "{progress:?}");
    // Who watched saw it to its end.
    let mut last = None;
    while let Some(next) = watch.get_mut().message().await.unwrap() {
        last = next.rollout;
    }
    assert_eq!(last.unwrap().phase(), RolloutPhase::RolledBack);
    // Without the bad ones it goes through.
    for agent in &lab.agents {
        let _ = std::fs::remove_file(agent.file("bad"));
    }
    let id = lab.begin(version, plan(&[10, 100], 0)).await.unwrap().id;
    lab.until_phase(&id, RolloutPhase::Succeeded).await;
    assert_eq!(lab.count("two\n"), 20);
}

#[tokio::test]
async fn a_rollout_is_approved_paused_resumed_aborted_and_rolled_back() {
    let lab = Lab::new(4).await;
    let version = lab.second().await;
    let id = lab.begin(version, with_approval(plan(&[25, 100], 0))).await.unwrap().id;
    let waits = |reason: &'static str| {
        move |it: &pb::Rollout| it.waits_for.as_ref().is_some_and(|w| w.reason == reason)
    };
    lab.until(&id, "it waits for a yes", waits("Approval")).await;
    assert_eq!(lab.count("two\n"), 0);
    let mut rollouts = lab.operator.rollouts.clone();
    let approve = pb::ApproveRolloutRequest { id: id.clone(), ..Default::default() };
    rollouts.approve_rollout(approve.clone()).await.unwrap();
    lab.until(&id, "one host has it", |it| it.progress.as_ref().is_some_and(|p| p.done == 1)).await;
    let pause = pb::PauseRolloutRequest { id: id.clone(), reason: "lunch".to_owned() };
    let paused = rollouts.pause_rollout(pause).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!((paused.phase(), paused.message.as_str()), (RolloutPhase::Paused, "lunch"));
    rollouts.resume_rollout(pb::ResumeRolloutRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    lab.until(&id, "it waits for the second yes", |it| it.step == 2 && waits("Approval")(it)).await;
    rollouts.abort_rollout(pb::AbortRolloutRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    assert_eq!((lab.count("one\n"), lab.count("two\n")), (3, 1), "who has it keeps it");
    let refused = rollouts.approve_rollout(approve).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::StateConflict));
    let back = pb::RollBackRolloutRequest { id: id.clone(), reason: "no".to_owned() };
    rollouts.roll_back_rollout(back).await.unwrap();
    lab.until_phase(&id, RolloutPhase::RolledBack).await;
    assert_eq!(lab.count("one\n"), 4);
    let nodes = pb::ListRolloutNodesRequest { id, page_size: 3, ..Default::default() };
    let page = rollouts.list_rollout_nodes(nodes.clone()).await.unwrap().into_inner();
    let rest = pb::ListRolloutNodesRequest { page_token: page.next_page_token, ..nodes };
    let rest = rollouts.list_rollout_nodes(rest).await.unwrap().into_inner();
    assert_eq!((page.nodes.len(), rest.nodes.len(), rest.next_page_token.as_str()), (3, 1, ""));
}

#[tokio::test]
async fn at_each_step_a_rollout_can_be_paused_resumed_and_aborted() {
    let lab = Lab::new(3).await;
    let mut rollouts = lab.operator.rollouts.clone();
    let waits = |step: u32| {
        move |it: &pb::Rollout| {
            it.step == step && it.waits_for.as_ref().is_some_and(|waits| waits.reason == "Approval")
        }
    };
    for last in 1..=3 {
        let text = format!("until step {last}\n");
        let version = lab.bundle(&text, None).await;
        let id = lab.begin(version, with_approval(plan(&[1, 50, 100], 0))).await.unwrap().id;
        for step in 1..=last {
            lab.until(&id, "it waits for a yes to its step", waits(step)).await;
            let pause = pb::PauseRolloutRequest { id: id.clone(), reason: "lunch".to_owned() };
            rollouts.pause_rollout(pause).await.unwrap();
            let resume = pb::ResumeRolloutRequest { id: id.clone(), ..Default::default() };
            lab.until_phase(&id, RolloutPhase::Paused).await;
            rollouts.resume_rollout(resume).await.unwrap();
            lab.until(&id, "it waits where it was", waits(step)).await;
            assert_eq!(lab.count(&text), step as usize - 1, "who came before has it, and nobody else");
            if step < last {
                let approve = pb::ApproveRolloutRequest { id: id.clone(), step, ..Default::default() };
                rollouts.approve_rollout(approve).await.unwrap();
            }
        }
        let abort = pb::AbortRolloutRequest { id: id.clone(), ..Default::default() };
        rollouts.abort_rollout(abort).await.unwrap();
        lab.until_phase(&id, RolloutPhase::Aborted).await;
        assert_eq!(lab.count(&text), last as usize - 1, "who has it keeps it");
        let back = pb::RollBackRolloutRequest { id: id.clone(), reason: "no".to_owned() };
        rollouts.roll_back_rollout(back).await.unwrap();
        lab.until_phase(&id, RolloutPhase::RolledBack).await;
        assert_eq!(lab.count("one\n"), 3);
    }
}

#[tokio::test]
async fn a_host_that_was_away_through_a_rollout_and_its_way_back_ends_right() {
    let mut lab = Lab::new(4).await;
    let version = lab.second().await;
    let away = |lab: &Lab| lab.agents[3].node.clone();
    let stop = async |lab: &mut Lab| {
        assert!(lab.agents[3].process().stop().await.success());
        lab.operator.until_liveness(&away(lab), Liveness::Offline).await;
    };
    stop(&mut lab).await;
    let id = lab.begin(version, with_approval(plan(&[50, 100], 0))).await.unwrap().id;
    let approve = pb::ApproveRolloutRequest { id: id.clone(), ..Default::default() };
    lab.operator.rollouts.clone().approve_rollout(approve).await.unwrap();
    lab.until(&id, "half of those that are here have it", |it| it.step == 2).await;
    let back = pb::RollBackRolloutRequest { id: id.clone(), ..Default::default() };
    lab.operator.rollouts.clone().roll_back_rollout(back).await.unwrap();
    lab.until_phase(&id, RolloutPhase::RolledBack).await;
    lab.agents[3].run();
    lab.operator.until_liveness(&away(&lab), Liveness::Online).await;
    lab.until_read("one\n", |_| true).await;

    // Away while it succeeds: it gets what holds then.
    stop(&mut lab).await;
    let id = lab.begin(version, plan(&[50, 100], 0)).await.unwrap().id;
    let done = lab.until_phase(&id, RolloutPhase::Succeeded).await;
    assert_eq!(done.progress.unwrap().done, 3);
    assert_eq!((lab.count("two\n"), lab.agents[3].read("app.conf").as_deref()), (3, Some("one\n")));
    lab.agents[3].run();
    lab.until_read("two\n", |_| true).await;
}

#[tokio::test]
async fn who_belongs_to_a_rollout_follows_the_selector_in_its_midst() {
    let lab = Lab::new(4).await;
    let version = lab.second().await;
    let id = lab.begin(version, with_approval(plan(&[25, 100], 0))).await.unwrap().id;
    let mut rollouts = lab.operator.rollouts.clone();
    let approve = pb::ApproveRolloutRequest { id: id.clone(), ..Default::default() };
    rollouts.approve_rollout(approve.clone()).await.unwrap();
    lab.until(&id, "the first step is done", |it| it.step == 2).await;
    // One that had it leaves, and one that had nothing joins.
    let nodes = pb::ListRolloutNodesRequest { id: id.clone(), ..Default::default() };
    let first = rollouts.list_rollout_nodes(nodes).await.unwrap().into_inner().nodes[0].node_id.clone();
    let label = async |node: &str, role: &str| {
        let labels = [("role".to_owned(), role.to_owned())].into();
        let node = pb::Node { id: node.to_owned(), labels, ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["labels".to_owned()] });
        let request = pb::UpdateNodeRequest { node: Some(node), update_mask };
        lab.operator.nodes.clone().update_node(request).await.unwrap();
    };
    label(&first, "db").await;
    lab.until(&id, "it has three nodes", |it| it.progress.as_ref().is_some_and(|p| p.total == 3)).await;
    rollouts.approve_rollout(approve).await.unwrap();
    lab.until_phase(&id, RolloutPhase::Succeeded).await;
    assert_eq!(lab.count("two\n"), 3);
    let left = lab.agents.iter().find(|agent| agent.node == first).unwrap();
    eventually("the bundle is gone from the host that left", LONG, || async {
        left.read("app.conf").is_none().then_some(())
    })
    .await;
    label(&first, "web").await;
    lab.until_read("two\n", |_| true).await;
    drop(lab.plane);
}
