//! Files of commands: who has them, and how long they are kept.

use std::time::Duration;

use muster_common::{digest::Sha256, ids::NodeId, reason::Reason};
use muster_domain::{
    access::{Permission, Reach, Scope},
    blob::State,
    command::{self, Command},
    page::Page,
};
use muster_store::ReadBlobs as _;

use super::bench::{Bench, actor, alice, hello, ledger, said, whole, wish};
use crate::{
    app::{
        Actor, Error,
        blobs::{Taking, Told},
        operations::Wish,
    },
    session::ports::Inbox as _,
};

const FILE: &[u8] = b"an archive";

fn most(kind: &str, _: &[u8]) -> Option<u64> {
    (kind == "collect-logs").then_some(100)
}

fn of(node: NodeId) -> Actor {
    let principal = format!("node/{node}");
    let scope = Scope::whole(principal.clone(), Permission::Known);
    actor(&principal, scope)
}

fn told(command: &Command, content: &[u8]) -> Told {
    Told { command: command.id, sha256: Sha256::of(content), size_bytes: content.len() as u64 }
}

/// Orders to all nodes.
async fn ordered(bench: &Bench) -> Vec<Command> {
    let wish = Wish { kind: "collect-logs", ..wish("*") };
    let (operation, _) = bench.app.start_operation(&alice(), wish).await.unwrap();
    bench.app.hand_out().await.unwrap();
    let listed = bench.app.commands(&whole(), operation.id, Page { size: 100, after: None }, false).await;
    listed.unwrap().rows.into_iter().map(|row| row.0).collect()
}

async fn bring(bench: &Bench, command: &Command, content: &[u8]) -> Result<(), Error> {
    let (node, actor) = (command.node, of(command.node));
    match bench.app.begin_result(&actor, node, told(command, content), most).await? {
        Taking::There => Ok(()),
        Taking::Go(mut receiving) => {
            receiving.write(content).await?;
            bench.app.finish_result(&actor, node, command.id, *receiving, most).await
        }
    }
}

async fn state(bench: &Bench) -> Option<State> {
    let read = |tx: &mut muster_store::ReadTx<'_>| Ok::<_, Error>(tx.blob_get(&Sha256::of(FILE))?);
    bench.app.store.read(read).await.unwrap().map(|blob| blob.state)
}

fn reason(error: &Error) -> Option<Reason> {
    match error {
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => Some(*reason),
        _ => None,
    }
}

#[tokio::test]
async fn a_file_is_kept_as_long_as_its_operation_and_then_collected() {
    let bench = Bench::following().await;
    let node = bench.node(1).await;
    let (session, _) = bench.hello(node, &hello(ledger(1, 1))).unwrap();
    let order = ordered(&bench).await.remove(0);
    bring(&bench, &order, FILE).await.unwrap();
    bench.app.command(&session, said(&order, 1, command::State::Running));
    bench.app.command(&session, said(&order, 2, command::State::Succeeded));
    bench.app.record().await.unwrap();
    let (keep, unreferenced) =
        (bench.app.fixed.retention.operations, bench.app.fixed.blobs.keep_unreferenced);
    bench.app.clock.advance(keep - Duration::from_secs(1));
    bench.app.prune().await.unwrap();
    bench.app.collect_blobs().await.unwrap();
    assert!(bench.app.read_result(&whole(), order.id, 0).await.is_ok(), "its operation is kept");

    bench.app.clock.advance(Duration::from_secs(2));
    bench.app.prune().await.unwrap();
    assert!(bench.app.read_result(&whole(), order.id, 0).await.is_err());
    assert_eq!(state(&bench).await, Some(State::Here));
    bench.app.clock.advance(unreferenced);
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(state(&bench).await, None);
}

#[tokio::test]
async fn two_commands_with_the_same_file_both_have_it_and_each_had_to_bring_it() {
    let bench = Bench::following().await;
    for number in [1, 2] {
        bench.node(number).await;
    }
    let orders = ordered(&bench).await;
    bring(&bench, &orders[0], FILE).await.unwrap();
    let again =
        bench.app.begin_result(&of(orders[1].node), orders[1].node, told(&orders[1], FILE), most).await;
    assert!(matches!(again.unwrap(), Taking::Go(_)), "to know its digest is not to have it");
    assert!(bench.app.read_result(&whole(), orders[1].id, 0).await.is_err());
    bring(&bench, &orders[1], FILE).await.unwrap();
    for order in &orders {
        assert_eq!(bench.app.read_result(&whole(), order.id, 0).await.unwrap().1, order.node);
    }
    let nobody = Scope { reach: Reach::none(), ..whole() };
    assert!(bench.app.read_result(&nobody, orders[0].id, 0).await.is_err(), "its node is not to be seen");
}

#[tokio::test]
async fn a_file_is_refused_from_a_node_in_quarantine_and_after_the_end() {
    let bench = Bench::following().await;
    let node = bench.node(1).await;
    let (session, _) = bench.hello(node, &hello(ledger(1, 1))).unwrap();
    let orders = [ordered(&bench).await.remove(0), ordered(&bench).await.remove(0)];
    let begun = bench.app.begin_result(&of(node), node, told(&orders[0], FILE), most).await.unwrap();
    let Taking::Go(mut receiving) = begun else { panic!("nothing has come") };
    receiving.write(FILE).await.unwrap();
    bench.app.command(&session, said(&orders[0], 1, command::State::Running));
    bench.app.command(&session, said(&orders[0], 2, command::State::Failed));
    bench.app.record().await.unwrap();
    let late = bench.app.finish_result(&of(node), node, orders[0].id, *receiving, most).await;
    assert_eq!(reason(&late.unwrap_err()), Some(Reason::StateConflict), "it ended while its file came");
    assert!(bench.app.read_result(&whole(), orders[0].id, 0).await.is_err());

    bench.app.quarantine_node(&alice(), node, String::new()).await.unwrap();
    let locked = bring(&bench, &orders[1], FILE).await.unwrap_err();
    assert_eq!(reason(&locked), Some(Reason::Quarantined));
}
