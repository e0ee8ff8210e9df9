//! One order to many hosts: some are away, some say no, and somebody asks twice.

use muster_common::clock::Clock;
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{CommandState, ErrorReason},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::{Options, Plane},
};

/// How many hosts there are; a third of them will be away.
const HOSTS: usize = 6;

async fn fleet(folder: &std::path::Path, count: usize) -> (Plane, Operator, Vec<Agent>) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let join = plane.join(i32::try_from(count).unwrap(), &[]).await;
    let agents: Vec<Agent> = (0..count).map(|n| Agent::start(folder, &format!("host-{n}"), &join)).collect();
    for agent in &agents {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    (plane, operator, agents)
}

/// Each run adds a line to the file of its host.
fn mark(folder: &std::path::Path) -> String {
    format!("echo x >> {}/ran/$MUSTER_COMMAND_ID", folder.display())
}

fn lines(folder: &std::path::Path) -> Vec<usize> {
    let files = std::fs::read_dir(folder.join("ran")).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count()).collect()
}

fn request(text: &str) -> pb::StartOperationRequest {
    pb::StartOperationRequest { selector: "*".to_owned(), spec: Some(script(text)), ..Default::default() }
}

async fn start(operator: &Operator, request: pb::StartOperationRequest) -> pb::Operation {
    operator.operations.clone().start_operation(request).await.unwrap().into_inner().operation.unwrap()
}

async fn operation(operator: &Operator, id: &str) -> pb::Operation {
    let request = pb::GetOperationRequest { id: id.to_owned() };
    operator.operations.clone().get_operation(request).await.unwrap().into_inner().operation.unwrap()
}

#[tokio::test]
async fn an_operation_ends_without_the_third_of_its_hosts_that_does_not_come_in_time() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("ran")).unwrap();
    let (_plane, operator, mut agents) = fleet(folder.path(), HOSTS).await;
    for agent in &mut agents[..HOSTS / 3] {
        agent.process().stop().await;
    }
    for agent in &agents[..HOSTS / 3] {
        operator.until_liveness(&agent.node, Liveness::Offline).await;
    }
    // One that waits for them, and one that does not.
    let waits = start(&operator, request(&mark(folder.path()))).await;
    let soon = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let leaves =
        start(&operator, pb::StartOperationRequest { deliver_within: soon, ..request(&mark(folder.path())) });
    let leaves = leaves.await;
    let commands = operator.ended(&leaves.id, LONG).await;
    for (n, agent) in agents.iter().enumerate() {
        let found = (commands[&agent.node].state(), commands[&agent.node].reason());
        let expected = if n < HOSTS / 3 {
            (CommandState::Expired, ErrorReason::DeliverByPassed)
        } else {
            (CommandState::Succeeded, ErrorReason::Unspecified)
        };
        assert_eq!(found, expected, "host {n}");
    }
    let counts = operation(&operator, &leaves.id).await.counts.unwrap();
    assert_eq!((counts.total, counts.succeeded, counts.expired), (6, 4, 2));
    eventually("those who are there have answered the other one, too", LONG, || async {
        let counts = operation(&operator, &waits.id).await.counts.unwrap();
        (counts.succeeded == 4).then_some(())
    })
    .await;
    let still = operation(&operator, &waits.id).await;
    assert_eq!(still.state(), pb::OperationState::Running);
    assert_eq!(still.counts.unwrap().queued, 2);
    for agent in &mut agents[..HOSTS / 3] {
        agent.run();
    }
    let commands = operator.ended(&waits.id, LONG).await;
    assert!(commands.values().all(|command| command.state() == CommandState::Succeeded));
    assert_eq!(lines(folder.path()), [1; 10], "six of the one, four of the other, each once");
}

#[tokio::test]
async fn the_same_request_many_times_at_once_is_one_operation() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("ran")).unwrap();
    let (plane, operator, agents) = fleet(folder.path(), 2).await;
    let asked =
        pb::StartOperationRequest { request_id: "at once".to_owned(), ..request(&mark(folder.path())) };
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        // Over connections of their own: none waits for another.
        let (operator, asked) = (plane.operator().await, asked.clone());
        asking.spawn(async move { start(&operator, asked).await.id });
    }
    let ids = asking.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let commands = operator.ended(&ids[0], LONG).await;
    assert_eq!(commands.len(), agents.len());
    // Also when all is over.
    assert_eq!(start(&operator, asked.clone()).await.id, ids[0]);
    let all = operator.operations.clone().list_operations(pb::ListOperationsRequest::default()).await;
    assert_eq!(all.unwrap().into_inner().operations.len(), 1);
    assert_eq!(lines(folder.path()), [1, 1]);
}

#[tokio::test]
async fn a_host_that_locks_scripts_between_two_orders_denies_the_second() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("ran")).unwrap();
    let (_plane, operator, agents) = fleet(folder.path(), 1).await;
    let agent = &agents[0];
    let mark = mark(folder.path());
    let states = async |rules: &str| {
        agent.rules(rules);
        let id = start(&operator, request(&mark)).await.id;
        let command = operator.ended(&id, LONG).await[&agent.node].clone();
        (command.state(), command.reason())
    };
    let open = "[commands]\nrun-script = true\n";
    let denied = (CommandState::Denied, ErrorReason::LocalLock);
    assert_eq!(states(open).await, (CommandState::Succeeded, ErrorReason::Unspecified));
    assert_eq!(states("[commands]\nrun-script = false\n").await, denied);
    assert_eq!(states("").await, denied, "what is not allowed is locked");
    assert_eq!(states("[commands\n").await, denied, "so is all when nobody can read the rules");
    assert_eq!(states(open).await, (CommandState::Succeeded, ErrorReason::Unspecified));
    assert_eq!(lines(folder.path()), [1, 1]);
}

#[tokio::test]
async fn an_order_whose_time_for_delivery_passes_while_its_host_is_away_never_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("ran")).unwrap();
    let (mut plane, operator, mut agents) = fleet(folder.path(), 1).await;
    agents[0].process().stop().await;
    operator.until_liveness(&agents[0].node, Liveness::Offline).await;
    let soon = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let asked = pb::StartOperationRequest { deliver_within: soon, ..request(&mark(folder.path())) };
    let started = start(&operator, asked).await;
    let (id, deliver_by) = (started.id, started.deliver_by.unwrap().seconds + 1);
    // Nobody is there to see its time pass, either.
    plane.kill();
    eventually("its time is over", LONG, || {
        std::future::ready((Clock::System.now().0 / 1000 >= deliver_by).then_some(()))
    })
    .await;
    agents[0].run();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let command = operator.ended(&id, LONG).await[&agents[0].node].clone();
    assert_eq!((command.state(), command.reason()), (CommandState::Expired, ErrorReason::DeliverByPassed));
    let next = start(&operator, request("true")).await.id;
    operator.ended(&next, LONG).await;
    assert_eq!(lines(folder.path()), [0; 0]);
}
