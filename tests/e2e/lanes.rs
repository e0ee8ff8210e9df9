//! Commands of one lane, on a host whose agent does not live through them.

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::CommandState,
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::{Options, Plane},
};

async fn start(operator: &Operator, text: &str) -> pb::Operation {
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script(text)),
        lane: "db".to_owned(),
        ..Default::default()
    };
    operator.operations.clone().start_operation(request).await.unwrap().into_inner().operation.unwrap()
}

#[tokio::test]
async fn a_lane_goes_on_where_it_was_when_its_agent_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let (gate, trace) = (agent.file("gate"), agent.file("trace"));
    let text = |name: &str| {
        format!(
            "echo {name} begins >> {trace}; while [ ! -e {gate} ]; do sleep 0.05; done; echo {name} ends >> {trace}",
            trace = trace.display(),
            gate = gate.display()
        )
    };
    let mut operations = Vec::new();
    for name in ["first", "second", "third"] {
        let operation = start(&operator, &text(name)).await;
        assert_eq!(operation.lane, "db");
        operations.push(operation.id);
    }
    let delivered = || async {
        let state = operator.commands(&operations[2]).await[&agent.node].state();
        (state == CommandState::Delivered && trace.exists()).then_some(())
    };
    eventually("all are on the host, and the first runs", LONG, delivered).await;
    agent.kill();
    agent.run();
    let began = || async { agent.read("trace").filter(|trace| trace.contains("second begins")) };
    eventually("the second runs", LONG, began).await;
    std::fs::write(&gate, "").unwrap();
    let expected = [CommandState::Interrupted, CommandState::Succeeded, CommandState::Succeeded];
    for (operation, state) in operations.iter().zip(expected) {
        assert_eq!(operator.ended(operation, LONG).await[&agent.node].state(), state);
    }
    assert_eq!(
        agent.read("trace").unwrap(),
        "first begins\nsecond begins\nsecond ends\nthird begins\nthird ends\n"
    );
}

#[tokio::test]
async fn what_is_no_name_of_a_lane_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    for lane in ["Data", "a b", &"x".repeat(64)] {
        let request = pb::StartOperationRequest {
            selector: "*".to_owned(),
            spec: Some(script("true")),
            lane: lane.to_owned(),
            ..Default::default()
        };
        let refused = operator.operations.clone().start_operation(request).await.unwrap_err();
        let reason = muster_tests::operator::reason(&refused);
        assert_eq!(reason, Some(muster_common::reason::Reason::InvalidArgument), "{lane}");
        assert!(refused.message().contains("lane"), "{}", refused.message());
    }
}
