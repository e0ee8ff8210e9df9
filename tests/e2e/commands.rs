//! Orders run on the host, once, and say what they said.

use std::os::unix::fs::MetadataExt as _;

use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    types::v1::{self as types, CommandState, ErrorReason},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::{Options, Plane},
};

async fn fleet(folder: &std::path::Path, hosts: &[&str]) -> (Plane, Operator, Vec<Agent>) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let join = plane.join(10, &[]).await;
    let agents: Vec<Agent> = hosts.iter().map(|name| Agent::start(folder, name, &join)).collect();
    for agent in &agents {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    (plane, operator, agents)
}

fn how(command: &NodeCommand) -> (CommandState, ErrorReason) {
    (command.state(), command.reason())
}

fn spec(kind: types::command_spec::Kind) -> types::CommandSpec {
    types::CommandSpec { kind: Some(kind) }
}

#[tokio::test]
async fn output_streams_to_the_watcher_while_the_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agents) = fleet(folder.path(), &["host"]).await;
    let gate = agents[0].file("gate");
    let text = format!(
        "echo first; echo aside >&2; while [ ! -e {} ]; do sleep 0.05; done; echo last",
        gate.display()
    );
    let operation = operator.start("*", script(&text)).await;
    let request =
        pb::WatchOperationRequest { id: operation.clone(), with_output: true, ..Default::default() };
    let mut stream = operator.operations.clone().watch_operation(request).await.unwrap().into_inner();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let watching = async {
        while let Some(message) = stream.message().await.unwrap() {
            if let Some(pb::watch_operation_response::Event::Output(output)) = message.event {
                let said = if output.stderr { &mut stderr } else { &mut stdout };
                assert_eq!(output.offset, said.len() as u64, "pieces come in order, without gaps");
                said.extend_from_slice(&output.data);
                if stdout == b"first\n" && stderr == b"aside\n" {
                    std::fs::write(&gate, "").unwrap(); // it is heard while it runs: now it may end
                }
            }
        }
    };
    tokio::time::timeout(LONG, watching).await.expect("the watch ends with the operation");
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"first\nlast\n"[..], &b"aside\n"[..]));
    let commands = operator.commands(&operation).await;
    let command = &commands[&agents[0].node];
    assert_eq!(how(command), (CommandState::Succeeded, ErrorReason::Unspecified));
    assert_eq!(command.stdout.as_ref(), b"first\nlast\n");
}

#[tokio::test]
async fn a_script_is_denied_where_the_host_does_not_allow_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agents) = fleet(folder.path(), &["open", "closed"]).await;
    agents[1].rules("[commands]\nrun-script = false\n");
    let mark = "date > $MUSTER_COMMAND_ID.ran";
    let operation =
        operator.start("*", script(&format!("cd {}; {mark}; exit 4", agents[0].files().display()))).await;
    let commands = operator.ended(&operation, LONG).await;
    let (open, closed) = (&commands[&agents[0].node], &commands[&agents[1].node]);
    assert_eq!((how(open), open.exit_code), ((CommandState::Failed, ErrorReason::ExitStatus), 4));
    assert_eq!(how(closed), (CommandState::Denied, ErrorReason::LocalLock));
    assert_eq!(std::fs::read_dir(agents[0].files()).unwrap().count(), 1, "it ran once, on one host");
}

#[tokio::test]
async fn a_cancelled_operation_stops_what_runs_and_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agents) = fleet(folder.path(), &["host", "away"]).await;
    agents[1].process().stop().await;
    operator.until_liveness(&agents[1].node, Liveness::Offline).await;
    let ran = folder.path().join("ran");
    std::fs::create_dir(&ran).unwrap();
    let text = format!("date > {}/$MUSTER_COMMAND_ID; echo begun; sleep 600", ran.display());
    let operation = operator.start("*", script(&text)).await;
    eventually("the script runs", LONG, || async {
        let commands = operator.commands(&operation).await;
        (commands[&agents[0].node].stdout.as_ref() == b"begun\n").then_some(())
    })
    .await;
    assert_eq!(operator.commands(&operation).await[&agents[1].node].state(), CommandState::Queued);
    let request = pb::CancelOperationRequest {
        id: operation.clone(),
        reason: "enough".to_owned(),
        ..Default::default()
    };
    operator.operations.clone().cancel_operation(request).await.unwrap();
    let commands = operator.ended(&operation, LONG).await;
    for agent in &agents {
        assert_eq!(how(&commands[&agent.node]), (CommandState::Cancelled, ErrorReason::CancelledByOperator));
    }
    assert_eq!(commands[&agents[0].node].stdout.as_ref(), b"begun\n");
    // The host that was away comes back: an order that came after it finds nothing before it.
    agents[1].run();
    let next = operator.start("*", script("echo next")).await;
    assert_eq!(operator.ended(&next, LONG).await[&agents[1].node].stdout.as_ref(), b"next\n");
    assert_eq!(std::fs::read_dir(&ran).unwrap().count(), 1, "what had waited never ran");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agents) = fleet(folder.path(), &["host"]).await;
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script("sleep 600")),
        run_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let started = operator.operations.clone().start_operation(request).await.unwrap().into_inner();
    let commands = operator.ended(&started.operation.unwrap().id, LONG).await;
    assert_eq!(how(&commands[&agents[0].node]), (CommandState::TimedOut, ErrorReason::FinishByPassed));
}

#[tokio::test]
async fn an_order_waits_for_its_host_and_expires_if_it_does_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agents) = fleet(folder.path(), &["host"]).await;
    agents[0].process().stop().await;
    operator.until_liveness(&agents[0].node, Liveness::Offline).await;
    let waits = operator.start("*", script("echo here")).await;
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script("echo never")),
        deliver_within: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let expires =
        operator.operations.clone().start_operation(request).await.unwrap().into_inner().operation.unwrap();
    let commands = operator.ended(&expires.id, LONG).await;
    assert_eq!(how(&commands[&agents[0].node]).0, CommandState::Expired);
    agents[0].run();
    let commands = operator.ended(&waits, LONG).await;
    assert_eq!(commands[&agents[0].node].stdout.as_ref(), b"here\n");
}

#[tokio::test]
async fn an_agent_starts_anew_and_reads_its_facts_again_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agents) = fleet(folder.path(), &["host"]).await;
    let before = operator.node(&agents[0].node).await.unwrap().connection.unwrap().session_id;
    let restart =
        operator.start("*", spec(types::command_spec::Kind::RestartAgent(types::RestartAgent {}))).await;
    let commands = operator.ended(&restart, LONG).await;
    assert_eq!(how(&commands[&agents[0].node]), (CommandState::Succeeded, ErrorReason::Unspecified));
    let after = operator.until_liveness(&agents[0].node, Liveness::Online).await;
    assert_ne!(after.connection.unwrap().session_id, before);
    assert!(agents[0].log().contains("the agent starts anew"));
    let refresh =
        operator.start("*", spec(types::command_spec::Kind::RefreshFacts(types::RefreshFacts {}))).await;
    let commands = operator.ended(&refresh, LONG).await;
    assert_eq!(how(&commands[&agents[0].node]).0, CommandState::Succeeded);
}

#[tokio::test]
async fn the_same_request_id_is_the_same_operation() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agents) = fleet(folder.path(), &["host"]).await;
    let count = agents[0].file("count");
    let request = |text: &str| pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script(text)),
        request_id: "once".to_owned(),
        ..Default::default()
    };
    let text = format!("echo x >> {}", count.display());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let started = operator.operations.clone().start_operation(request(&text)).await.unwrap().into_inner();
        ids.push(started.operation.unwrap().id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    operator.ended(&ids[0], LONG).await;
    let other = operator.operations.clone().start_operation(request("echo other")).await.unwrap_err();
    assert_eq!(muster_tests::operator::reason(&other), Some(muster_common::reason::Reason::RequestIdReused));
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}

#[tokio::test]
async fn a_ledger_that_went_back_interrupts_and_never_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, mut agents) = fleet(folder.path(), &["host"]).await;
    let count = agents[0].file("count");
    let operation = operator.start("*", script(&format!("echo x >> {}; sleep 600", count.display()))).await;
    eventually("the script runs", LONG, || async { count.exists().then_some(()) }).await;
    eventually("the control plane knows", LONG, || async {
        let commands = operator.commands(&operation).await;
        (commands[&agents[0].node].state() == CommandState::Running).then_some(())
    })
    .await;
    agents[0].kill();
    // The host's disk is set back to before the command: its ledger is gone.
    std::fs::remove_dir_all(agents[0].state().join("nodes").join(&agents[0].node).join("ledger")).unwrap();
    agents[0].run();
    let commands = operator.ended(&operation, LONG).await;
    assert_eq!(how(&commands[&agents[0].node]), (CommandState::Interrupted, ErrorReason::LedgerWentBack));
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}

#[tokio::test]
async fn a_restart_goes_on_with_the_program_that_was_installed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(folder.path(), "host", OPEN);
    agent.connect(&plane.join(1, &[]).await);
    let program = agent.install();
    agent.run();
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let first = std::fs::metadata(&program).unwrap().ino();
    agent.install();
    let operation =
        operator.start("*", spec(types::command_spec::Kind::RestartAgent(types::RestartAgent {}))).await;
    let commands = operator.ended(&operation, LONG).await;
    assert_eq!(commands[&agent.node].state(), CommandState::Succeeded);
    let running = std::fs::metadata(format!("/proc/{}/exe", agent.process().id())).unwrap().ino();
    assert_ne!(running, first);
    assert_eq!(running, std::fs::metadata(&program).unwrap().ino());
}
