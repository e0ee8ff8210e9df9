//! Watches miss nothing, however much is written at once.

use std::collections::BTreeSet;

use muster_common::{
    digest::Sha256,
    ids::{CommandId, NodeId, OperationId},
};
use muster_domain::{
    command::{Command, State},
    labels::Written,
    operation::{Operation, RUN_TIMEOUT},
};
use muster_store::{WriteCommands as _, WriteNodes as _, WriteOperations as _};

use super::bench::{Bench, NOW, node, whole};
use crate::app::{
    nodes::View,
    watch::{NodeNews, OperationNews, Place, Told},
};

const MANY: u128 = 700; // more than one batch

#[tokio::test]
async fn a_watch_of_nodes_sees_every_node_of_a_large_write() {
    let bench = Bench::new().await;
    let mut from = *bench.app.feed.applied().borrow();
    for part in 0..3 {
        let ids = part * MANY + 1..=(part + 1) * MANY;
        bench.write(move |tx| Ok(ids.clone().try_for_each(|n| tx.node_insert(&node(n)))?)).await;
    }
    bench.app.follow().await.unwrap();
    let mut all = bench.app.node_watch(whole(), Written::all()).unwrap();
    let newest = *bench.app.feed.applied().borrow();
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    while from < newest {
        let (ids, reached) = bench.app.node_changes(&mut all, from).await.unwrap();
        assert!(reached > from, "it moves on");
        from = reached;
        for id in ids {
            let Some(NodeNews::Upserted(view)) = bench.app.node_news(&mut all, id) else { panic!("{id}") };
            let View { node, .. } = *view;
            seen.insert(node.id);
        }
    }
    assert_eq!(seen.len(), 3 * usize::try_from(MANY).unwrap());
}

fn operation() -> Operation {
    Operation {
        id: OperationId::from_u128(1),
        selector: "*".to_owned(),
        kind: "run-script".to_owned(),
        args: Vec::new(),
        request_id: None,
        request_sha256: Sha256::ZERO.as_bytes().to_vec(),
        created_by: "operator/alice".to_owned(),
        created_at: NOW,
        not_before: None,
        deliver_by: NOW,
        run_timeout: RUN_TIMEOUT,
        cancel_requested: false,
        ended_at: None,
        total: u32::try_from(3 * MANY).unwrap(),
        trace_id: String::new(),
        traceparent: String::new(),
        lane: String::new(),
        output_limit: 1000,
        schedule: String::new(),
        plan: muster_domain::operation::Plan::default(),
        retry_of: None,
        cancel_forced: false,
    }
}

fn command(number: u128, state: State) -> Command {
    Command {
        id: CommandId::from_u128(number),
        operation: OperationId::from_u128(1),
        node: NodeId::from_u128(number),
        state,
        exit_code: None,
        signal: None,
        reason: None,
        message: String::new(),
        result: Vec::new(),
        cancel_requested: false,
        cancel_forced: false,
        report_seq: 0,
        output_bytes: 0,
        stderr_bytes: 0,
        dropped_bytes: 0,
        created_at: NOW,
        updated_at: NOW,
        ended_at: state.is_end().then_some(NOW),
        deliver_by: NOW,
        retry_of: None,
    }
}

#[tokio::test]
async fn a_watch_of_an_operation_ends_after_its_last_result_and_not_before() {
    let bench = Bench::new().await;
    let all: Vec<Command> = (1..=3 * MANY).map(|n| command(n, State::Queued)).collect();
    bench
        .write(move |tx| {
            tx.operation_insert(&operation())?;
            Ok(tx.command_insert(&all)?)
        })
        .await;
    let (id, mut place) = (operation().id, Place::default());
    let (news, told) = bench.app.operation_news(&whole(), id, &mut place).await.unwrap();
    assert_eq!((news.len(), told), (1 + 3 * usize::try_from(MANY).unwrap(), Told::All));
    for part in 0..3 {
        let ids = part * MANY + 1..=(part + 1) * MANY;
        bench
            .write(move |tx| {
                for n in ids.clone() {
                    tx.command_put(&command(n, State::Succeeded))?;
                }
                Ok(part == 2 && tx.operation_set_ended(OperationId::from_u128(1), NOW)?)
            })
            .await;
    }
    let mut ended: BTreeSet<CommandId> = BTreeSet::new();
    for _ in 0..10 {
        let (news, told) = bench.app.operation_news(&whole(), id, &mut place).await.unwrap();
        for one in news {
            if let OperationNews::Command(command) = one {
                assert_eq!(command.state, State::Succeeded);
                ended.insert(command.id);
            }
        }
        match told {
            Told::Part => continue,
            Told::ToTheEnd => {
                assert_eq!(ended.len(), 3 * usize::try_from(MANY).unwrap());
                return;
            }
            Told::All => panic!("it has ended, and there is more to say"),
        }
    }
    panic!("it does not move on");
}
