//! Groups, exclusions and previews, with hosts that follow.

use std::{path::Path, time::Duration};

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{
        self as pb, DifferenceKind, create_rollout_request, preview_assignment_request, preview_time,
    },
    types::v1::BundleContent,
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, file, reason},
    plane::{Options, Plane},
};
use tonic::Status;

/// The same path on every host of this machine.
const PATH: &str = "/proc/self/cwd/app.conf";

struct Lab {
    operator: Operator,
    agents: Vec<Agent>,
    _plane: Plane,
    _folder: tempfile::TempDir,
}

impl Lab {
    /// Three hosts, `n=0` to `n=2`, in the fleet, and a bundle with two versions.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plane = Plane::start(folder.path(), &Options::default()).await;
        let operator = plane.operator().await;
        let mut agents = Vec::new();
        for number in ["0", "1", "2"] {
            let mut agent = Agent::host(folder.path(), &format!("host-{number}"), OPEN);
            agent.allow(&["/proc/self/cwd".into()], OPEN);
            agent.connect(&plane.join(1, &[("role", "web"), ("n", number)]).await);
            agent.run();
            agents.push(agent);
        }
        let lab = Self { operator, agents, _plane: plane, _folder: folder };
        for content in ["one\n", "two\n"] {
            let files = vec![file(Path::new(PATH), content)];
            lab.operator.bundle("app", BundleContent { files, ..Default::default() }).await;
        }
        // A preview says who is not heard.
        for agent in &lab.agents {
            lab.operator.until_liveness(&agent.node, pb::Liveness::Online).await;
        }
        lab
    }

    /// Waits until each host has this content, or no file.
    async fn until(&self, contents: [Option<&str>; 3]) {
        eventually(&format!("hosts have {contents:?}"), LONG, || async {
            (self.contents() == contents.map(|it| it.map(str::to_owned))).then_some(())
        })
        .await;
    }

    fn contents(&self) -> [Option<String>; 3] {
        [0, 1, 2].map(|at| self.agents[at].read("app.conf"))
    }

    async fn group(&self, name: &str, selector: &str) -> Result<pb::Group, Status> {
        let request = pb::CreateGroupRequest { group: Some(group(name, selector)), validate_only: false };
        Ok(self.operator.groups.clone().create_group(request).await?.into_inner().group.unwrap())
    }

    async fn regroup(&self, selector: &str, validate_only: bool) -> Result<pb::UpdateGroupResponse, Status> {
        let request = pb::UpdateGroupRequest { group: Some(group("first", selector)), validate_only };
        Ok(self.operator.groups.clone().update_group(request).await?.into_inner())
    }

    async fn put(&self, assignment: pb::Assignment) -> Result<pb::Assignment, Status> {
        let create =
            pb::CreateAssignmentRequest { assignment: Some(assignment.clone()), validate_only: false };
        let mut assignments = self.operator.assignments.clone();
        match assignments.create_assignment(create).await {
            Err(status) if reason(&status) == Some(Reason::AlreadyExists) => {
                let update =
                    pb::UpdateAssignmentRequest { assignment: Some(assignment), validate_only: false };
                Ok(assignments.update_assignment(update).await?.into_inner().assignment.unwrap())
            }
            made => Ok(made?.into_inner().assignment.unwrap()),
        }
    }

    async fn preview(&self, assignment: pb::Assignment) -> Result<pb::Preview, Status> {
        let change = Some(preview_assignment_request::Change::Assignment(assignment));
        let request = pb::PreviewAssignmentRequest { change };
        let told = self.operator.assignments.clone().preview_assignment(request).await?;
        Ok(told.into_inner().preview.unwrap())
    }
}

fn group(name: &str, selector: &str) -> pb::Group {
    pb::Group { name: name.to_owned(), selector: selector.to_owned(), ..Default::default() }
}

fn assignment(version: u64, selector: &str, exclusions: &[&str]) -> pb::Assignment {
    let bundle = pb::BundleTarget { name: "app".to_owned(), version };
    pb::Assignment {
        name: "app".to_owned(),
        selector: selector.to_owned(),
        exclusions: exclusions.iter().map(|it| (*it).to_owned()).collect(),
        target: Some(pb::assignment::Target::Bundle(bundle)),
        ..Default::default()
    }
}

fn count(nodes: Option<&pb::PreviewNodes>) -> u32 {
    let nodes = nodes.unwrap();
    assert_eq!(nodes.count as usize, nodes.nodes.len(), "few are all named");
    nodes.count
}

/// Nodes that would get it, get another one, lose it, and keep what they have.
fn told(preview: &pb::Preview) -> [u32; 4] {
    let [item] = preview.items.as_slice() else { panic!("{preview:?}") };
    assert_eq!((item.item.as_str(), count(item.not_heard.as_ref())), ("bundle/app", 0));
    [&item.gained_by, &item.changed_on, &item.lost_by, &item.same_on].map(|it| count(it.as_ref()))
}

#[tokio::test]
async fn hosts_follow_a_group_and_what_is_told_before_is_what_then_happens() {
    let lab = Lab::new().await;
    let made = lab.group("first", "n=0").await.unwrap();
    assert_eq!((made.matched_nodes, made.updated_by.as_str()), (1, "operator/admin"));
    assert_eq!(lab.operator.select("role=web,!@first").await.len(), 2);
    let assigned = lab.put(assignment(1, "role=web,@first", &[])).await.unwrap();
    assert_eq!(assigned.matched_nodes, 1);
    lab.until([Some("one\n"), None, None]).await;

    let preview = lab.regroup("n in (1,2)", true).await.unwrap().preview.unwrap();
    assert_eq!((count(preview.entering.as_ref()), count(preview.leaving.as_ref())), (2, 1));
    assert_eq!(preview.assignments, ["app"]);
    assert_eq!(told(preview.preview.as_ref().unwrap()), [2, 0, 1, 0]);
    assert_eq!(lab.contents(), [Some("one\n".to_owned()), None, None], "nothing was changed");
    let changed = lab.regroup("n in (1,2)", false).await.unwrap();
    assert!(changed.preview.is_none());
    assert_eq!(changed.group.unwrap().used_by, ["assignment/app"]);
    lab.until([None, Some("one\n"), Some("one\n")]).await;

    let unknown = lab.put(assignment(1, "@nobody", &[])).await.unwrap_err();
    assert_eq!(reason(&unknown), Some(Reason::SelectorInvalid));
    let delete = pb::DeleteGroupRequest { name: "first".to_owned(), ..Default::default() };
    let refused = lab.operator.groups.clone().delete_group(delete).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::InUse));
}

#[tokio::test]
async fn an_excluded_host_loses_what_it_had_and_is_told_why() {
    let lab = Lab::new().await;
    lab.group("first", "n=0").await.unwrap();
    lab.put(assignment(1, "role=web", &[])).await.unwrap();
    lab.until([Some("one\n"); 3]).await;
    let excluding = || assignment(1, "role=web", &["@first", "n=2,role=web"]);
    assert_eq!(told(&lab.preview(excluding()).await.unwrap()), [0, 0, 2, 1]);
    assert_eq!(lab.put(excluding()).await.unwrap().matched_nodes, 1);
    lab.until([None, Some("one\n"), None]).await;
    let explain = pb::ExplainItemRequest { id: lab.agents[0].node.clone(), item: "bundle/app".to_owned() };
    let explained = lab.operator.nodes.clone().explain_item(explain).await.unwrap().into_inner();
    assert_eq!(explained.reasons[0].about, "Excluded", "{explained:?}");
    assert!(explained.reasons[0].text.contains("by @first"), "{explained:?}");
    lab.put(assignment(1, "role=web", &[])).await.unwrap();
    lab.until([Some("one\n"); 3]).await;
}

#[tokio::test]
async fn a_preview_shows_what_changes_in_files_and_by_which_steps() {
    let lab = Lab::new().await;
    lab.put(assignment(1, "role=web", &[])).await.unwrap();
    lab.until([Some("one\n"); 3]).await;
    let preview = lab.preview(assignment(2, "n in (0,1)", &[])).await.unwrap();
    assert_eq!(told(&preview), [0, 2, 1, 0]);
    let difference = &preview.items[0].differences[0];
    assert_eq!(
        (difference.from_version.as_str(), difference.to_version.as_str(), difference.nodes),
        ("1", "2", 2)
    );
    let [changed] = difference.files.as_slice() else { panic!("{difference:?}") };
    assert_eq!(
        (changed.path.as_str(), changed.kind(), changed.what.as_slice()),
        (PATH, DifferenceKind::Changed, ["content".to_owned()].as_slice())
    );
    assert!(changed.diff.ends_with("@@ -1 +1 @@\n-one\n+two\n"), "{changed:?}");
    let within = preview.time.unwrap().bound.unwrap();
    assert!(matches!(within, preview_time::Bound::ToldWithin(span) if span.seconds <= 60), "{within:?}");

    let target =
        create_rollout_request::Target::Bundle(pb::BundleTarget { name: "app".to_owned(), version: 2 });
    let request = |validate_only| pb::CreateRolloutRequest {
        assignment: "app".to_owned(),
        target: Some(target.clone()),
        plan: Some(two_steps(Duration::ZERO)),
        validate_only,
        ..Default::default()
    };
    let mut rollouts = lab.operator.rollouts.clone();
    let answer = rollouts.create_rollout(request(true)).await.unwrap().into_inner();
    let preview = answer.preview.unwrap();
    assert_eq!(told(&preview), [0, 3, 0, 0]);
    let steps: Vec<_> = preview.steps.iter().map(|it| (it.step, it.nodes, it.goes)).collect();
    assert_eq!(steps, [(1, 1, 1), (2, 2, 2)]);
    assert!(matches!(preview.time.unwrap().bound, Some(preview_time::Bound::AtLeast(_))));
    assert_eq!(lab.contents(), [(); 3].map(|()| Some("one\n".to_owned())), "nothing was begun");
    let begun = rollouts.create_rollout(request(false)).await.unwrap().into_inner();
    assert!(begun.preview.is_none());
    lab.until([Some("two\n"); 3]).await;

    let mut wrong = two_steps(Duration::from_secs(86_400 * 40));
    wrong.steps[0].reach = Some(pb::rollout_step::Reach::Selector("@nobody,".to_owned()));
    let request = pb::CreateRolloutRequest { plan: Some(wrong), ..request(true) };
    let refused = rollouts.create_rollout(request).await.unwrap_err();
    let fields = tonic_types::StatusExt::get_error_details(&refused).bad_request().unwrap().clone();
    let fields: Vec<_> = fields.field_violations.into_iter().map(|it| it.field).collect();
    assert_eq!(fields, ["plan.steps[0].selector", "plan.steps[0].soak", "plan.steps[1].soak"]);
}

/// One host, then all, one at a time.
fn two_steps(soak: Duration) -> pb::RolloutPlan {
    let step = |reach| pb::RolloutStep {
        reach: Some(reach),
        soak: prost_types::Duration::try_from(soak).ok(),
        ..Default::default()
    };
    let steps = vec![step(pb::rollout_step::Reach::Count(1)), step(pb::rollout_step::Reach::Percent(100))];
    pb::RolloutPlan { steps, max_in_flight: 1, ..Default::default() }
}
