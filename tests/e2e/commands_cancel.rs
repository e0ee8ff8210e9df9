//! An order is taken back: before it has left, while it waits on its host, while it
//! runs, and when it is over.

use muster_common::clock::Clock;
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    types::v1::{CommandState, ErrorReason},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::{Options, Plane},
};

/// Scripts that a host runs at once.
const SLOTS: usize = 4;

async fn host(folder: &std::path::Path) -> (Plane, Operator, Agent) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    (plane, operator, agent)
}

async fn cancel(operator: &Operator, operation: &str) -> pb::Operation {
    let request =
        pb::CancelOperationRequest { id: operation.to_owned(), reason: "enough".to_owned(), force: false };
    let answer = operator.operations.clone().cancel_operation(request).await.unwrap().into_inner();
    answer.operation.unwrap()
}

/// Waits until the one command of an operation is so.
async fn until(operator: &Operator, operation: &str, state: CommandState) -> NodeCommand {
    eventually(&format!("the command is {state:?}"), LONG, || async {
        let commands = operator.commands(operation).await;
        commands.into_values().next().filter(|command| command.state() == state)
    })
    .await
}

fn is_cancelled(command: &NodeCommand) {
    assert_eq!(
        (command.state(), command.reason()),
        (CommandState::Cancelled, ErrorReason::CancelledByOperator),
        "{command:?}"
    );
}

#[tokio::test]
async fn what_has_not_left_is_cancelled_at_once_and_never_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agent) = host(folder.path()).await;
    agent.process().stop().await;
    operator.until_liveness(&agent.node, Liveness::Offline).await;
    let ran = agent.file("ran");
    let operation = operator.start("*", script(&format!("date > {}", ran.display()))).await;
    let cancelled = cancel(&operator, &operation).await;
    assert_eq!(cancelled.state(), pb::OperationState::Ended, "nobody has to be asked");
    assert!(cancelled.cancel_requested);
    let counts = cancelled.counts.unwrap();
    assert_eq!((counts.total, counts.cancelled), (1, 1));
    agent.run();
    let next = operator.start("*", script("echo next")).await;
    assert_eq!(operator.ended(&next, LONG).await[&agent.node].stdout.as_ref(), b"next\n");
    is_cancelled(&operator.commands(&operation).await[&agent.node]);
    assert!(!ran.exists());
}

#[tokio::test]
async fn what_waits_for_a_slot_on_its_host_is_cancelled_and_never_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let (gate, ran) = (agent.file("gate"), agent.file("ran"));
    let waits = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let mut before = Vec::new();
    for _ in 0..SLOTS {
        let operation = operator.start("*", script(&waits)).await;
        until(&operator, &operation, CommandState::Running).await;
        before.push(operation);
    }
    let operation = operator.start("*", script(&format!("date > {}", ran.display()))).await;
    until(&operator, &operation, CommandState::Delivered).await;
    let asked = cancel(&operator, &operation).await;
    assert!(asked.cancel_requested);
    is_cancelled(&operator.ended(&operation, LONG).await[&agent.node]);
    std::fs::write(&gate, "").unwrap();
    for operation in before {
        let commands = operator.ended(&operation, LONG).await;
        assert_eq!(commands[&agent.node].state(), CommandState::Succeeded, "others are not concerned");
    }
    let next = operator.start("*", script("true")).await;
    operator.ended(&next, LONG).await;
    assert!(!ran.exists(), "there were slots enough, and it was not started");
}

#[tokio::test]
async fn what_waits_for_its_time_on_its_host_is_cancelled_also_across_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agent) = host(folder.path()).await;
    let ran = agent.file("ran");
    let later = Clock::System.now().0 / 1000 + 3600;
    let request = |text: String| pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script(&text)),
        not_before: Some(prost_types::Timestamp { seconds: later, nanos: 0 }),
        ..Default::default()
    };
    let mut operations = Vec::new();
    for _ in 0..2 {
        let request = request(format!("date > {}", ran.display()));
        let answer = operator.operations.clone().start_operation(request).await.unwrap().into_inner();
        let id = answer.operation.unwrap().id;
        until(&operator, &id, CommandState::Delivered).await;
        operations.push(id);
    }
    cancel(&operator, &operations[0]).await;
    is_cancelled(&operator.ended(&operations[0], LONG).await[&agent.node]);
    // The wish comes while nobody is there to hear it.
    agent.kill();
    operator.until_liveness(&agent.node, Liveness::Offline).await;
    let asked = cancel(&operator, &operations[1]).await;
    assert_eq!(asked.state(), pb::OperationState::Running, "its host has it, and has to say");
    agent.run();
    is_cancelled(&operator.ended(&operations[1], LONG).await[&agent.node]);
    assert!(!ran.exists());
}

#[tokio::test]
async fn what_runs_is_told_to_end_and_says_how_far_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let text = "trap 'echo interrupted; exit 1' TERM; echo begun; while :; do sleep 0.05; done";
    let operation = operator.start("*", script(text)).await;
    eventually("the script runs", LONG, || async {
        (operator.commands(&operation).await[&agent.node].stdout.as_ref() == b"begun\n").then_some(())
    })
    .await;
    cancel(&operator, &operation).await;
    cancel(&operator, &operation).await; // as often as anybody likes
    let command = operator.ended(&operation, LONG).await[&agent.node].clone();
    is_cancelled(&command);
    assert_eq!(command.stdout.as_ref(), b"begun\ninterrupted\n", "it was asked before it was killed");
}

#[tokio::test]
async fn what_is_over_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let operation = operator.start("*", script("echo done; exit 3")).await;
    let before = operator.ended(&operation, LONG).await[&agent.node].clone();
    let ended = cancel(&operator, &operation).await;
    assert_eq!(ended.state(), pb::OperationState::Ended);
    let after = operator.commands(&operation).await[&agent.node].clone();
    assert_eq!((after.state(), after.exit_code), (CommandState::Failed, 3));
    assert_eq!(before, after);
}
