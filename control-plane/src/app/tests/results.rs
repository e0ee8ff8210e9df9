//! Files of commands: who has them, and how long they are kept.

use std::time::Duration;

use muster_common::{digest::Sha256, ids::NodeId, reason::Reason};
use muster_domain::{
    access::{Permission, Reach, Scope},
    blob::{State, upload_of},
    command::{self, Command},
    page::Page,
};
use muster_store::{ReadBlobs as _, WriteBlobs as _};

use super::bench::{Bench, actor, alice, hello, ledger, open, said, whole, wish};
use crate::{
    app::{
        Actor, Error,
        blobs::{Begun, Taking, Told, Wish as Upload},
        operations::Wish,
    },
    blobs,
    session::{
        frames::{CommandReport, Found},
        ports::Inbox as _,
    },
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
    bench.app.command(&session, said(&order, 1, command::State::Running)).unwrap();
    bench.app.command(&session, said(&order, 2, command::State::Succeeded)).unwrap();
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

/// An operator brings the same bytes, if it must.
async fn upload(bench: &Bench) -> Begun {
    let (sha256, size_bytes) = (Sha256::of(FILE), FILE.len() as u64);
    let wish = Upload { sha256, size_bytes, upload: None, offset: 0 };
    bench.app.begin_upload(&alice(), wish).await.unwrap()
}

#[tokio::test]
async fn who_knows_the_digest_of_a_file_has_it_neither_as_a_blob_nor_in_a_bundle() {
    let bench = Bench::following().await;
    bench.node(1).await;
    let order = ordered(&bench).await.remove(0);
    bring(&bench, &order, FILE).await.unwrap();
    let sha256 = Sha256::of(FILE);
    let payload = || serde_json::to_vec(&[(sha256, FILE.len() as u64)]).unwrap();
    let create =
        async || bench.app.create_bundle(&alice(), "app".to_owned(), open(payload().into()), false).await;
    let refused = create().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid { field, .. } if field == "content.files[0].blob"),
        "{refused}"
    );
    let wrong = Upload { sha256, size_bytes: 1, upload: None, offset: 0 };
    let wrong = bench.app.begin_upload(&alice(), wrong).await;
    assert!(matches!(wrong, Ok(Begun::Go(_))), "how large it is, is not told either");
    drop(wrong);
    let id = upload_of("operator/alice", &sha256);
    bench.write(move |tx| Ok(tx.blob_upload_delete(id)?)).await;

    let Begun::Go(mut receiving) = upload(&bench).await else { panic!("it has to bring the bytes") };
    assert!(bench.app.blob(sha256).await.is_err(), "it has not brought them yet");
    receiving.write(FILE).await.unwrap();
    let blob = bench.app.finish_upload(&alice(), *receiving).await.unwrap();
    assert_eq!(blob.created_by, "operator/alice", "who has the bytes may have the blob");
    assert!(bench.app.read_blob(sha256, 0).await.is_ok() && matches!(upload(&bench).await, Begun::There(_)));
    create().await.unwrap();
    assert!(bench.app.read_result(&whole(), order.id, 0).await.is_ok(), "its command has it, too");
}

#[tokio::test]
async fn an_operators_blob_is_its_own_whichever_host_has_brought_the_same_bytes() {
    for host_first in [true, false] {
        let bench = Bench::following().await;
        let node = bench.node(1).await;
        let (session, _) = bench.hello(node, &hello(ledger(1, 1))).unwrap();
        let order = ordered(&bench).await.remove(0);
        if host_first {
            bring(&bench, &order, FILE).await.unwrap();
        }
        if let Begun::Go(mut receiving) = upload(&bench).await {
            receiving.write(FILE).await.unwrap();
            bench.app.finish_upload(&alice(), *receiving).await.unwrap();
        }
        if !host_first {
            bring(&bench, &order, FILE).await.unwrap();
        }
        let listed = bench.app.blobs(Page { size: 9, after: None }).await.unwrap().rows;
        assert_eq!(listed.len(), 1, "it is listed");
        bench.app.command(&session, said(&order, 1, command::State::Running)).unwrap();
        bench.app.command(&session, said(&order, 2, command::State::Succeeded)).unwrap();
        bench.app.record().await.unwrap();
        bench.app.clock.advance(bench.app.fixed.retention.operations + Duration::from_secs(1));
        bench.app.prune().await.unwrap();
        bench.app.collect_blobs().await.unwrap();
        assert!(bench.app.blob(Sha256::of(FILE)).await.is_ok(), "the end of the command takes nothing away");
        bench.app.delete_blob(&alice(), Sha256::of(FILE)).await.unwrap();
        assert_eq!(state(&bench).await, None);
    }
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
    bench.app.command(&session, said(&orders[0], 1, command::State::Running)).unwrap();
    bench.app.command(&session, said(&orders[0], 2, command::State::Failed)).unwrap();
    bench.app.record().await.unwrap();
    let late = bench.app.check_result(node, orders[0].id, most).await;
    assert_eq!(reason(&late.unwrap_err()), Some(Reason::StateConflict), "no more of it is taken");
    let late = bench.app.finish_result(&of(node), node, orders[0].id, *receiving, most).await;
    assert_eq!(reason(&late.unwrap_err()), Some(Reason::StateConflict), "it ended while its file came");
    assert!(bench.app.read_result(&whole(), orders[0].id, 0).await.is_err());

    let begun = bench.app.begin_result(&of(node), node, told(&orders[1], FILE), most).await.unwrap();
    let Taking::Go(mut receiving) = begun else { panic!("nothing has come") };
    receiving.write(FILE).await.unwrap();
    bench.app.check_result(node, orders[1].id, most).await.unwrap();
    bench.app.quarantine_node(&alice(), node, String::new()).await.unwrap();
    let locked = bench.app.check_result(node, orders[1].id, most).await.unwrap_err();
    assert_eq!(reason(&locked), Some(Reason::Quarantined));
    let locked = bench.app.finish_result(&of(node), node, orders[1].id, *receiving, most).await.unwrap_err();
    assert_eq!(reason(&locked), Some(Reason::Quarantined), "it was locked up while its file came");
    let locked = bring(&bench, &orders[1], FILE).await.unwrap_err();
    assert_eq!(reason(&locked), Some(Reason::Quarantined));
}

#[tokio::test]
async fn a_file_has_only_the_room_that_was_written_down_for_it() {
    let bench = Bench::following().await;
    let node = bench.node(1).await;
    let order = ordered(&bench).await.remove(0);
    let begin = |content: &'static [u8]| {
        let told = told(&order, content);
        let (bench, actor) = (&bench, of(node));
        async move { bench.app.begin_result(&actor, node, told, most).await }
    };
    let Taking::Go(mut receiving) = begin(FILE).await.unwrap() else { panic!("nothing has come") };
    let other = begin(b"x").await;
    assert!(matches!(other, Err(Error::Blobs(blobs::Error::Busy))), "{other:?}");
    receiving.write(FILE).await.unwrap();
    // As if another had begun all the same.
    let id = upload_of(&format!("node/{node} {}", order.id), &Sha256::ZERO);
    let small = move |tx: &mut muster_store::WriteTx<'_>| {
        let begun = tx.blob_upload_get(id)?.unwrap();
        tx.blob_upload_delete(id)?;
        Ok(tx.blob_upload_put(&muster_domain::blob::Upload { size_bytes: 1, ..begun })?)
    };
    bench.write(small).await;
    let uncounted = bench.app.finish_result(&of(node), node, order.id, *receiving, most).await.unwrap_err();
    assert_eq!(reason(&uncounted), Some(Reason::StateConflict));
    assert_eq!(state(&bench).await, None);
}

#[tokio::test]
async fn what_a_host_found_is_of_the_kind_that_was_asked_for_and_ends_a_page_in_time() {
    const LARGE: usize = 1024 * 1024;
    let bench = Bench::following().await;
    for number in 1..=3 {
        bench.node(number).await;
    }
    let orders = ordered(&bench).await;
    for (order, kind) in orders.iter().zip(["collect-logs", "collect-logs", "service"]) {
        let (session, _) = bench.hello(order.node, &hello(ledger(1, 1))).unwrap();
        bench.app.command(&session, said(order, 1, command::State::Running)).unwrap();
        let result = Some(Found { kind, bytes: vec![1; LARGE] });
        let end = CommandReport { result, ..said(order, 2, command::State::Succeeded) };
        bench.app.command(&session, end).unwrap();
    }
    bench.app.record().await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = Page { size: 100, after };
        let listed = bench.app.commands(&whole(), orders[0].operation, page, false).await.unwrap();
        found.push(listed.rows.iter().map(|(command, _)| command.result.len()).collect::<Vec<_>>());
        after = listed.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [vec![LARGE], vec![LARGE, 0]]);
}
