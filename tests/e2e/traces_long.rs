//! Traces of what goes on long after the call: rollouts, schedules, what is taken off a host, and the
//! steps of an extension.

use std::{path::Path, time::Duration};

use muster_common::trace::Context;
use muster_proto::{
    admin::v1::{self as pb, Liveness, rollout_step},
    types::v1::{BundleContent, ItemOutcome},
};
use muster_tests::{
    agent::Agent,
    catalogue::{Catalogue, Package, content, pack},
    eventually::eventually,
    operator::{file, reported, script},
    otlp::{Collector, Part, word},
    plane::{Options, Plane},
    repository::Repository,
};

use super::traces::{HERE, HOST, Lab, caller, collected, lab, place, within};

/// Until the next full minute, and then some.
const MINUTE: Duration = Duration::from_secs(90);
/// Notes which verb it is, and where in its trace.
const PROGRAM: &str =
    "#!/bin/sh\necho $MUSTER_EXT_VERB $TRACEPARENT >> ${MUSTER_EXT_STATE%%/state/*}/places\n";

/// A version of a bundle of one file; its number and digest.
async fn bundle(lab: &Lab, text: &str) -> (u64, Vec<u8>) {
    let files = vec![file(&lab.agent.file("app.conf"), text)];
    lab.operator.bundle("app", BundleContent { files, ..BundleContent::default() }).await
}

/// The host has a first version.
async fn assigned(lab: &Lab) {
    let (_, sha256) = bundle(lab, "one\n").await;
    lab.operator.assign("app", "role=web", "app").await;
    lab.operator.until_attempted(&lab.agent.node, "bundle/app", &sha256).await;
}

#[tokio::test]
async fn a_rollout_is_one_trace_from_the_call_over_its_step_to_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), "0.0").await;
    assigned(&lab).await;
    let (version, _) = bundle(&lab, "two\n").await;
    let step =
        pb::RolloutStep { reach: Some(rollout_step::Reach::Percent(100)), ..pb::RolloutStep::default() };
    let target = pb::BundleTarget { name: "app".to_owned(), version };
    let request = pb::CreateRolloutRequest {
        assignment: "app".to_owned(),
        target: Some(pb::create_rollout_request::Target::Bundle(target)),
        plan: Some(pb::RolloutPlan { steps: vec![step], ..pb::RolloutPlan::default() }),
        ..pb::CreateRolloutRequest::default()
    };
    let caller = caller(true);
    lab.operator.rollouts.clone().create_rollout(within(&caller, request)).await.unwrap();
    let call = "muster.admin.v1.RolloutsService/CreateRollout";
    let parts = [
        (HERE, call),
        (HERE, "store write"),
        (HERE, "rollout"),
        (HERE, "rollout step"),
        (HERE, "item bundle/app"),
        (HERE, "store report"),
        (HOST, "apply bundle/app"),
        (HOST, "swap"),
    ];
    let trace = collected(&lab.collector, &caller, &parts).await;
    trace.assert_tree();
    assert_eq!(
        trace.way_up(trace.named("swap")[0]),
        [
            format!("{HOST}: swap"),
            format!("{HOST}: apply bundle/app"),
            format!("{HERE}: item bundle/app"),
            format!("{HERE}: rollout step"),
            format!("{HERE}: rollout"),
            format!("{HERE}: {call}"),
        ]
    );
    let whole = trace.named("rollout")[0];
    assert_eq!(word(&whole.span.attributes, "muster.rollout.phase"), "succeeded");
    assert_eq!(word(&whole.span.attributes, "muster.assignment"), "app");
    let writes = trace.named("store write");
    let touches = |part: &&&Part| word(&part.span.attributes, "muster.action") == "rollouts.touch";
    let touch = writes.iter().find(touches).expect("nodes are touched");
    assert_eq!(touch.span.parent_span_id, trace.named("rollout step")[0].span.span_id);
    assert!(trace.parts.iter().all(|part| part.span.status.is_none()), "all of it went well");
}

#[tokio::test]
async fn what_is_taken_off_a_host_is_a_part_of_the_trace_of_the_call() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), "0.0").await;
    assigned(&lab).await;
    let caller = caller(true);
    let request = pb::DeleteAssignmentRequest { name: "app".to_owned(), ..Default::default() };
    lab.operator.assignments.clone().delete_assignment(within(&caller, request)).await.unwrap();
    let call = "muster.admin.v1.AssignmentsService/DeleteAssignment";
    let parts = [
        (HERE, call),
        (HERE, "store write"),
        (HERE, "item bundle/app"),
        (HERE, "store report"),
        (HOST, "remove bundle/app"),
    ];
    let trace = collected(&lab.collector, &caller, &parts).await;
    trace.assert_tree();
    let item = trace.named("item bundle/app")[0];
    assert_eq!(word(&item.span.attributes, "muster.outcome"), "removed");
    assert_eq!(
        trace.way_up(trace.named("remove bundle/app")[0]),
        [format!("{HOST}: remove bundle/app"), format!("{HERE}: item bundle/app"), format!("{HERE}: {call}")]
    );
    assert_eq!(lab.agent.read("app.conf"), None);
}

#[tokio::test]
async fn each_run_of_a_schedule_is_a_trace_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), "1.0").await;
    let operation = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script("true")),
        ..pb::StartOperationRequest::default()
    };
    let schedule = pb::Schedule {
        name: "often".to_owned(),
        cron: "* * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        operation: Some(operation),
        ..pb::Schedule::default()
    };
    let made = caller(true);
    let request = pb::CreateScheduleRequest { schedule: Some(schedule), validate_only: false };
    lab.operator.schedules.clone().create_schedule(within(&made, request)).await.unwrap();
    let run = eventually("a run is collected", MINUTE, || async {
        lab.collector.all().into_iter().find(|part| part.span.name == "schedule run")
    })
    .await;
    assert!(run.span.parent_span_id.is_empty() && run.span.trace_id != made.trace.as_bytes());
    assert_eq!(word(&run.span.attributes, "muster.schedule"), "often");
    let links: Vec<&[u8]> = run.span.links.iter().map(|link| link.trace_id.as_slice()).collect();
    assert_eq!(links, [made.trace.as_bytes().as_slice()], "it leads to the call that made the schedule");
    let at: Context = place(&run).parse().unwrap();
    let parts = [(HERE, "operation run-script"), (HERE, "command run-script"), (HOST, "run")];
    let trace = collected(&lab.collector, &at, &parts).await;
    assert_eq!(
        trace.way_up(trace.named("run")[0]),
        [
            format!("{HOST}: run"),
            format!("{HOST}: run run-script"),
            format!("{HERE}: command run-script"),
            format!("{HERE}: operation run-script"),
        ],
        "the operation is below the run of the schedule"
    );
    let id = word(&run.span.attributes, "muster.operation.id");
    assert_eq!(lab.operator.operation(&id).await.trace_id, at.trace.to_string());
}

/// A host that takes extensions, and a control plane whose traces somebody collects.
async fn shop(folder: &Path) -> (Plane, Catalogue, Agent, Collector) {
    let (collector, repository) = (Collector::start().await, Repository::new());
    let mut plane = Plane::init(folder, &Options::default());
    let root = repository.path().join("metadata/1.root.json");
    plane.configure("root", &format!("{root:?}"));
    plane.configure_in("traces", "endpoint", &collector.endpoint());
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(folder, "host", "[extensions]\nallow = [\"acme/app\"]\n");
    agent.configure(&format!("artifacts-root = {root:?}\n"));
    agent.connect(&plane.join(1, &[]).await);
    agent.run();
    operator.until_liveness(&agent.node, Liveness::Online).await;
    (plane, Catalogue { repository, operator }, agent, collector)
}

#[tokio::test]
async fn the_steps_of_an_extension_are_parts_of_the_trace_and_its_handler_can_go_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, catalogue, agent, collector) = shop(folder.path()).await;
    let verb = |verb: &str| format!("[verbs.{verb}]\nargv = [\"bin/app\"]\n");
    let verbs = ["install", "enable", "disable", "uninstall"].map(verb).concat();
    let manifest = format!("publisher = \"acme\"\ntype = \"app\"\nversion = \"1.0.0\"\n{verbs}");
    let bytes = pack(&[("manifest.toml", 0o644, &manifest), ("bin/app", 0o755, PROGRAM)]);
    let package = Package { publisher: "acme", kind: "app", version: "1.0.0", bytes: &bytes };
    catalogue.publish(&[package]).await;
    let sha256 = catalogue.extension("app", content("acme", "app", "1.0.0", ""), "").await;
    let caller = caller(true);
    let target = pb::ExtensionTarget { name: "app".to_owned(), version: 1 };
    let assignment = pb::Assignment {
        name: "app".to_owned(),
        selector: "*".to_owned(),
        target: Some(pb::assignment::Target::Extension(target)),
        ..pb::Assignment::default()
    };
    let request = pb::CreateAssignmentRequest { assignment: Some(assignment), validate_only: false };
    let assignments = catalogue.operator.assignments.clone();
    assignments.clone().create_assignment(within(&caller, request)).await.unwrap();
    let state = catalogue.ended(&agent.node, "app", &sha256).await;
    assert_eq!(state.outcome(), ItemOutcome::Applied, "{state:?}");
    let parts = [
        (HERE, "item extension/app"),
        (HOST, "apply extension/app"),
        (HOST, "fetch"),
        (HOST, "unpack"),
        (HOST, "install"),
        (HOST, "enable"),
        (HOST, "prove"),
    ];
    let trace = collected(&collector, &caller, &parts).await;
    trace.assert_tree();
    let told = || std::fs::read_to_string(folder.path().join("host/places")).unwrap();
    let places = ["install", "enable"].map(|verb| format!("{verb} {}\n", place(trace.named(verb)[0])));
    assert_eq!(told(), places.concat());

    // And away again.
    let gone = super::traces::caller(true);
    let request = pb::DeleteAssignmentRequest { name: "app".to_owned(), ..Default::default() };
    assignments.clone().delete_assignment(within(&gone, request)).await.unwrap();
    let is_gone = |node: &pb::Node| reported(node, "extension/app").is_none();
    catalogue.operator.until("it is gone", &agent.node, is_gone).await;
    let parts = [(HOST, "remove extension/app"), (HOST, "disable"), (HOST, "uninstall"), (HOST, "clear")];
    let trace = collected(&collector, &gone, &parts).await;
    trace.assert_tree();
    assert!(told().ends_with(&format!("uninstall {}\n", place(trace.named("uninstall")[0]))), "{}", told());
}
