//! Operations that go about it step by step, with real agents: what is in flight is seen
//! on the hosts, not only in counts.

use std::path::{Path, PathBuf};

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand, OperationHoldReason as Why, pacing::Budget},
    types::v1::{CommandState, ErrorReason},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, reason, script},
    plane::{Options, Plane},
};
use rustix::process::Signal;
use tonic_types::StatusExt as _;

/// Agents of which each has a label `rack` with one of these values.
async fn fleet(folder: &Path, racks: &[&str]) -> (Plane, Operator, Vec<Agent>) {
    let plane = Plane::start(folder, &Options::default()).await;
    let mut agents = Vec::new();
    for (n, rack) in racks.iter().enumerate() {
        let join = plane.join(1, &[("rack", rack)]).await;
        agents.push(Agent::start(folder, &format!("host-{n}"), &join));
    }
    // Not before: a connection without a call is dropped after some seconds.
    let operator = plane.operator().await;
    for agent in &agents {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    (plane, operator, agents)
}

fn how(command: &NodeCommand) -> (CommandState, ErrorReason) {
    (command.state(), command.reason())
}

/// A script that is not over before a file is there, and its traces in a log.
struct Gated {
    folder: PathBuf,
}

impl Gated {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn request(&self, pacing: pb::Pacing) -> pb::StartOperationRequest {
        let text = format!(
            "cd {}; echo + >> log; while [ ! -e gate ]; do sleep 0.05; done; sleep 0.1; echo - >> log",
            self.folder.display()
        );
        asking("*", &text, pacing)
    }

    fn open(&self) {
        std::fs::write(self.folder.join("gate"), "").unwrap();
    }

    /// How many ran at once, at most, after so many had ended: one number for each start.
    fn ran(&self) -> Vec<(usize, usize)> {
        let (mut running, mut ended, mut seen) = (0, 0, Vec::new());
        for line in std::fs::read_to_string(self.folder.join("log")).unwrap_or_default().lines() {
            if line == "+" {
                running += 1;
                seen.push((ended, running));
            } else {
                running -= 1;
                ended += 1;
            }
        }
        seen
    }
}

fn asking(selector: &str, text: &str, pacing: pb::Pacing) -> pb::StartOperationRequest {
    pb::StartOperationRequest {
        selector: selector.to_owned(),
        spec: Some(script(text)),
        pacing: Some(pacing),
        ..Default::default()
    }
}

fn limit(limit: u32) -> pb::Pacing {
    pb::Pacing { limit, ..Default::default() }
}

/// Waits until so many are delivered or running, and this is why no more are.
async fn held(operator: &Operator, id: &str, in_flight: i32, why: Why) {
    eventually("the operation is held", LONG, || async {
        let operation = operator.operation(id).await;
        let counts = operation.counts.unwrap();
        let hold = operation.hold.as_ref().map(pb::OperationHold::reason);
        (counts.delivered + counts.running == in_flight && hold == Some(why)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_ramp_begins_with_one_host_and_never_passes_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, _agents) = fleet(folder.path(), &["a"; 6]).await;
    let gated = Gated::new(folder.path());
    let id = operator.start_as(gated.request(pb::Pacing { ramp_start: 1, ..limit(2) })).await;
    held(&operator, &id, 1, Why::Ramp).await;
    gated.open();
    let commands = operator.ended(&id, LONG).await;
    assert!(commands.values().all(|it| it.state() == CommandState::Succeeded));
    let ran = gated.ran();
    assert_eq!(ran.len(), 6);
    assert!(ran.iter().all(|(ended, running)| *running <= if *ended == 0 { 1 } else { 2 }), "{ran:?}");
}

#[tokio::test]
async fn an_error_budget_stops_the_rest_and_a_retry_repeats_what_did_not_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, _agents) = fleet(folder.path(), &["a"; 4]).await;
    let fixed = folder.path().join("fixed");
    let pacing = pb::Pacing { budget: Some(Budget::MaxFailures(1)), ..limit(1) };
    let id = operator.start_as(asking("*", &format!("[ -e {} ]", fixed.display()), pacing)).await;
    let commands = operator.ended(&id, LONG).await;
    let count = |end| commands.values().filter(|it| how(it) == end).count();
    assert_eq!(count((CommandState::Failed, ErrorReason::ExitStatus)), 2);
    assert_eq!(count((CommandState::Cancelled, ErrorReason::ErrorBudgetSpent)), 2, "{commands:?}");

    std::fs::write(fixed, "").unwrap();
    let states = [CommandState::Failed, CommandState::Cancelled].map(|it| it as i32).to_vec();
    let request = pb::RetryOperationRequest { id: id.clone(), request_id: "again".to_owned(), states };
    let again = operator.operations.clone().retry_operation(request).await.unwrap().into_inner();
    let again = again.operation.unwrap();
    assert_eq!(again.retry_of, id);
    let repeated = operator.ended(&again.id, LONG).await;
    assert_eq!(repeated.len(), 4);
    for (node, command) in &repeated {
        assert_eq!(how(command), (CommandState::Succeeded, ErrorReason::Unspecified));
        assert_eq!(command.retry_of, commands[node].id);
    }
}

#[tokio::test]
async fn a_lease_holds_over_two_operations_and_a_kill_of_the_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let (mut plane, operator, agents) = fleet(folder.path(), &["a"; 4]).await;
    let lease = pb::ConcurrencyLease {
        name: "scripts".to_owned(),
        limit: 2,
        kinds: vec!["run-script".to_owned()],
        ..Default::default()
    };
    let request = pb::CreateConcurrencyLeaseRequest { lease: Some(lease) };
    operator.leases.clone().create_concurrency_lease(request).await.unwrap();
    let gated = Gated::new(folder.path());
    let first = operator.start_as(gated.request(limit(1))).await;
    let second = operator.start_as(gated.request(pb::Pacing::default())).await;
    held(&operator, &first, 1, Why::Limit).await;
    held(&operator, &second, 1, Why::Lease).await;
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    for agent in &agents {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    held(&operator, &first, 1, Why::Limit).await;
    held(&operator, &second, 1, Why::Lease).await;
    let request = pb::GetConcurrencyLeaseRequest { name: "scripts".to_owned() };
    let lease = operator.leases.clone().get_concurrency_lease(request).await.unwrap().into_inner();
    assert_eq!(lease.lease.unwrap().taken, 2);
    gated.open();
    for id in [&first, &second] {
        let commands = operator.ended(id, LONG).await;
        assert!(commands.values().all(|it| it.state() == CommandState::Succeeded));
    }
    let ran = gated.ran();
    assert_eq!(ran.len(), 8, "each of them once");
    assert!(ran.iter().all(|(_, running)| *running <= 2), "{ran:?}");
}

#[tokio::test]
async fn a_third_of_the_nodes_is_away_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agents) = fleet(folder.path(), &["1", "2", "3"]).await;
    agents[0].process().stop().await;
    operator.until_liveness(&agents[0].node, Liveness::Offline).await;
    let pacing = pb::Pacing { order_by_label: "rack".to_owned(), ..limit(1) };
    let id = operator.start_as(asking("*", "echo here", pacing)).await;
    held(&operator, &id, 0, Why::NobodyOnline).await;
    let counts = operator.operation(&id).await.counts.unwrap();
    assert_eq!((counts.succeeded, counts.queued), (2, 1));
    agents[0].run();
    let commands = operator.ended(&id, LONG).await;
    assert_eq!(commands[&agents[0].node].stdout.as_ref(), b"here\n");
}

#[tokio::test]
async fn hosts_go_in_the_order_of_a_label_if_their_preconditions_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agents) = fleet(folder.path(), &["10", "9", "b", "2"]).await;
    let log = folder.path().join("order");
    let pacing = pb::Pacing { order_by_label: "rack".to_owned(), ..limit(1) };
    let preconditions = pb::Preconditions {
        selector: "rack!=9".to_owned(),
        agent_version_min: "0.0.1".to_owned(),
        capabilities: vec!["run-script".to_owned()],
    };
    let text = format!("echo $MUSTER_COMMAND_ID >> {}", log.display());
    let request =
        pb::StartOperationRequest { preconditions: Some(preconditions), ..asking("*", &text, pacing) };
    let preview = pb::PreviewOperationRequest { operation: Some(request.clone()), ..Default::default() };
    let preview = operator.operations.clone().preview_operation(preview).await.unwrap().into_inner();
    let order: Vec<&str> = preview.nodes.iter().map(|node| node.display_name.as_str()).collect();
    assert_eq!(order, ["host-3", "host-1", "host-0", "host-2"]);
    let counts = preview.counts.unwrap();
    assert_eq!((counts.total, counts.online, counts.precondition_failed, counts.kind_unknown), (4, 4, 1, 0));

    let commands = operator.ended(&operator.start_as(request).await, LONG).await;
    let unmet = &commands[&agents[1].node];
    assert_eq!(how(unmet), (CommandState::Cancelled, ErrorReason::PreconditionFailed));
    assert_eq!(unmet.message, "selector: the node does not match \"rack!=9\"");
    let ran = std::fs::read_to_string(log).unwrap();
    let expected = [3, 0, 2].map(|n: usize| commands[&agents[n].node].id.as_str());
    assert_eq!(ran.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn force_kills_what_does_not_listen_and_waits_for_no_host_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (mut plane, mut operator, mut agents) = fleet(folder.path(), &["a"; 3]).await;
    let deaf = "trap 'echo asked' TERM; echo here; while :; do sleep 0.1; done";
    let id = operator.start("*", script(deaf)).await;
    for agent in &agents {
        says(&operator, &id, &agent.node, "here").await;
    }
    // They stand still, as a laptop that was closed: their scripts are there yet.
    for agent in &mut agents[1..] {
        agent.process().signal(Signal::STOP);
        operator.until_liveness(&agent.node, Liveness::Offline).await;
    }
    cancel(&operator, &id, false).await;
    says(&operator, &id, &agents[0].node, "asked").await;
    assert_eq!(operator.operation(&id).await.counts.unwrap().running, 3);
    cancel(&operator, &id, true).await;
    let commands = operator.ended(&id, LONG).await;
    let given_up = (CommandState::Interrupted, ErrorReason::CancelledByOperator);
    assert_eq!(how(&commands[&agents[0].node]), (CommandState::Cancelled, ErrorReason::CancelledByOperator));
    assert!(agents[1..].iter().all(|agent| how(&commands[&agent.node]) == given_up));
    // They go on, and are told to kill what was given up, also by a control plane that has
    // forgotten all but its store. What they say is kept, and the end stays.
    for agent in &mut agents[1..] {
        agent.process().signal(Signal::CONT);
        let said = eventually("the host has said how it ended", LONG, || async {
            let command = operator.commands(&id).await.remove(&agent.node)?;
            command.message.starts_with("its host said later: cancelled").then_some(command)
        });
        assert_eq!(how(&said.await), given_up);
        plane.kill();
        plane.serve(&[]).await;
        operator = plane.operator().await;
    }
}

async fn says(operator: &Operator, operation: &str, node: &str, text: &str) {
    eventually("the script says so", LONG, || async {
        let commands = operator.commands(operation).await;
        String::from_utf8_lossy(&commands[node].stdout).contains(text).then_some(())
    })
    .await;
}

async fn cancel(operator: &Operator, operation: &str, force: bool) {
    let request = pb::CancelOperationRequest { id: operation.to_owned(), reason: "enough".to_owned(), force };
    operator.operations.clone().cancel_operation(request).await.unwrap();
}

#[tokio::test]
async fn a_newer_operation_takes_the_place_of_what_waits_and_of_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agents) = fleet(folder.path(), &["a", "a"]).await;
    agents[1].process().stop().await;
    operator.until_liveness(&agents[1].node, Liveness::Offline).await;
    let keyed = |text: &str, stop_running| pb::StartOperationRequest {
        supersede: Some(pb::Supersede { key: "deploy".to_owned(), stop_running }),
        ..asking("*", text, pb::Pacing::default())
    };
    let older = operator.start_as(keyed("echo old; sleep 600", false)).await;
    eventually("the older one runs", LONG, || async {
        (operator.operation(&older).await.counts.unwrap().running == 1).then_some(())
    })
    .await;
    let newer = operator.start_as(keyed("echo new", true)).await;
    let commands = operator.ended(&older, LONG).await;
    let (ran, waited) = (&commands[&agents[0].node], &commands[&agents[1].node]);
    assert_eq!(how(ran), (CommandState::Cancelled, ErrorReason::CancelledByOperator));
    assert_eq!(how(waited), (CommandState::Cancelled, ErrorReason::Superseded));
    assert_eq!(waited.message, format!("operation {newer} supersedes it"));
    agents[1].run();
    let commands = operator.ended(&newer, LONG).await;
    assert!(commands.values().all(|it| it.stdout.as_ref() == b"new\n"));
}

#[tokio::test]
async fn a_plan_that_cannot_be_is_refused_by_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let good = || asking("*", "true", pb::Pacing::default());
    let paced = |pacing| asking("*", "true", pacing);
    let preconditions =
        |preconditions| pb::StartOperationRequest { preconditions: Some(preconditions), ..good() };
    let key = |key: &str| Some(pb::Supersede { key: key.to_owned(), stop_running: true });
    let percent = Some(Budget::MaxFailurePercent(101));
    let requests = [
        (paced(limit(1_000_001)), "pacing.limit"),
        (paced(pb::Pacing { ramp_start: 3, ..limit(2) }), "pacing.ramp_start"),
        (paced(pb::Pacing { budget: percent, ..limit(2) }), "pacing.max_failure_percent"),
        (paced(pb::Pacing { order_by_label: "no key".to_owned(), ..limit(2) }), "pacing.order_by_label"),
        (
            preconditions(pb::Preconditions { selector: "env in".to_owned(), ..Default::default() }),
            "preconditions.selector",
        ),
        (
            preconditions(pb::Preconditions { agent_version_min: "1.x".to_owned(), ..Default::default() }),
            "preconditions.agent_version_min",
        ),
        (
            preconditions(pb::Preconditions { capabilities: vec![String::new()], ..Default::default() }),
            "preconditions.capabilities",
        ),
        (pb::StartOperationRequest { supersede: key(""), ..good() }, "supersede.key"),
        (pb::StartOperationRequest { lease: "No Name".to_owned(), ..good() }, "lease"),
    ];
    for (request, field) in requests {
        let refused = operator.operations.clone().start_operation(request).await.unwrap_err();
        let details = refused.get_error_details();
        let named =
            details.bad_request().and_then(|it| it.field_violations.first()).map(|it| it.field.as_str());
        assert_eq!(named, Some(field), "{refused:?}");
        let expected =
            if field == "preconditions.selector" { Reason::SelectorInvalid } else { Reason::InvalidArgument };
        assert_eq!(reason(&refused), Some(expected), "{field}");
    }
    let unknown = pb::StartOperationRequest { lease: "nobody".to_owned(), ..good() };
    let refused = operator.operations.clone().start_operation(unknown).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::NotFound));
    let lease = pb::ConcurrencyLease {
        name: "a".to_owned(),
        limit: 1,
        kinds: vec!["dance".to_owned()],
        ..Default::default()
    };
    let request = pb::CreateConcurrencyLeaseRequest { lease: Some(lease) };
    let refused = operator.leases.clone().create_concurrency_lease(request).await.unwrap_err();
    assert!(refused.message().contains("\"dance\" is no kind of command; there are "), "{refused:?}");
}
