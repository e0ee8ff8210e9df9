//! Blobs: who gets them, and what becomes of those that nobody needs.

use bytes::Bytes;
use muster_common::{
    digest::Sha256,
    ids::{NodeId, RolloutId},
};
use muster_domain::{
    assignment::{Target, Touch},
    blob::{Blob, State},
};
use muster_store::{
    ReadAssignments as _, ReadBlobs as _, WriteAssignments as _, WriteBlobs as _, WriteRollouts as _,
};

use super::bench::{Bench, NOW, actor, alice, open, whole};
use crate::app::{
    Error,
    assignments::Wish,
    blobs::{Begun, Wish as Upload},
};

const CONTENT: &[u8] = b"a blob";

fn wish() -> Upload {
    Upload { sha256: Sha256::of(CONTENT), size_bytes: CONTENT.len() as u64, upload: None, offset: 0 }
}

/// Uploads the content.
async fn upload(bench: &Bench) -> Blob {
    match bench.app.begin_upload(&alice(), wish()).await.unwrap() {
        Begun::There(blob) => blob,
        Begun::Go(mut receiving) => {
            receiving.write(CONTENT).await.unwrap();
            bench.app.finish_upload(&alice(), *receiving).await.unwrap()
        }
    }
}

async fn state(bench: &Bench) -> Option<State> {
    let read = |tx: &mut muster_store::ReadTx<'_>| Ok::<_, Error>(tx.blob_get(&Sha256::of(CONTENT))?);
    bench.app.store.read(read).await.unwrap().map(|blob| blob.state)
}

/// The payload of a bundle that refers to blobs; `note` makes it another content.
fn payload(blobs: &[(Sha256, u64)], note: usize) -> Bytes {
    let json = serde_json::to_string(blobs).unwrap() + &" ".repeat(note);
    Bytes::from(json.into_bytes())
}

/// A new version of a bundle that refers to the content.
async fn bundle(bench: &Bench, note: usize) -> u64 {
    let payload = payload(&[(Sha256::of(CONTENT), CONTENT.len() as u64)], note);
    bench.app.create_bundle(&alice(), "app".to_owned(), open(payload), false).await.unwrap().version
}

async fn may(bench: &Bench, node: NodeId) -> bool {
    let may = bench.app.may_fetch(node, &Sha256::of(CONTENT));
    let read = bench.app.read_blob_for(node, Sha256::of(CONTENT), 0).await;
    assert_eq!(read.is_ok(), may);
    may
}

fn assignment(version: u64) -> Wish {
    Wish {
        name: "app".to_owned(),
        selector: "role=web".to_owned(),
        exclusions: Vec::new(),
        target: Target::Bundle { name: "app".to_owned(), version },
        priority: 0,
        held: false,
        etag: String::new(),
    }
}

/// A node that is `role=web`.
async fn web(bench: &Bench, number: u128) -> NodeId {
    let node = bench.node(number).await;
    let labels = [("role".to_owned(), "web".to_owned())].into();
    let edit = crate::app::nodes::Edit { labels: Some(labels), ..Default::default() };
    bench.app.edit_node(&alice(), node, edit).await.unwrap();
    node
}

#[tokio::test]
async fn a_node_gets_what_the_items_refer_to_that_it_should_have_now() {
    let bench = Bench::following().await;
    let (node, other) = (web(&bench, 1).await, bench.node(2).await);
    upload(&bench).await;
    let version = bundle(&bench, 0).await;
    assert!(!may(&bench, node).await, "nothing gives it to the node");
    bench.app.create_assignment(&alice(), assignment(version), false).await.unwrap();
    assert!(may(&bench, node).await);
    assert!(!may(&bench, other).await, "another node has no need of it");
    assert!(!bench.app.may_fetch(node, &Sha256::of(b"another")));
    let without =
        bench.app.create_bundle(&alice(), "app".to_owned(), open(payload(&[], 0)), false).await.unwrap();
    bench.app.update_assignment(&alice(), assignment(without.version), false).await.unwrap();
    assert!(!may(&bench, node).await, "it should have another version");
    bench.app.update_assignment(&alice(), assignment(version), false).await.unwrap();
    assert!(may(&bench, node).await);
    bench.app.quarantine_node(&alice(), node, String::new()).await.unwrap();
    assert!(!may(&bench, node).await, "it is locked up");
    assert!(!may(&bench, NodeId::from_u128(99)).await);
}

#[tokio::test]
async fn a_rollout_brings_a_blob_to_whom_it_touched_and_leaves_the_one_of_before() {
    for brings in [true, false] {
        let bench = Bench::following().await;
        let (node, untouched) = (web(&bench, 1).await, web(&bench, 2).await);
        upload(&bench).await;
        let with = bundle(&bench, 0).await;
        let without = bench.app.create_bundle(&alice(), "app".to_owned(), open(payload(&[], 0)), false).await;
        let without = without.unwrap().version;
        let (from, to) = if brings { (without, with) } else { (with, without) };
        bench.app.create_assignment(&alice(), assignment(from), false).await.unwrap();
        let target = |version| Target::Bundle { name: "app".to_owned(), version };
        let (rollout, to) = (RolloutId::from_u128(1), target(to));
        let touch = Touch {
            assignment: "app".to_owned(),
            rollout,
            item: to.item(),
            gives: Some(to.clone()),
            before: Some(target(from)),
            at: NOW,
            revision: 0,
        };
        let begin = move |tx: &mut muster_store::WriteTx<'_>| {
            let found = tx.assignment_get("app")?.unwrap();
            tx.assignment_put(&found.begun(rollout, Some(&to)))?;
            Ok(tx.touch_put(node, &touch)?)
        };
        bench.write(begin).await;
        bench.app.follow().await.unwrap();
        assert!(may(&bench, node).await, "it gets it, or may go back to it");
        assert_eq!(may(&bench, untouched).await, !brings, "it has what all have");
    }
}

#[tokio::test]
async fn a_bundle_refers_only_to_blobs_that_are_here_and_as_it_says() {
    let bench = Bench::following().await;
    let create = async |blobs: &[(Sha256, u64)], validate_only| {
        bench.app.create_bundle(&alice(), "app".to_owned(), open(payload(blobs, 0)), validate_only).await
    };
    let (sha256, size) = (Sha256::of(CONTENT), CONTENT.len() as u64);
    let refused = async |blobs: &[(Sha256, u64)]| {
        let mut told = Vec::new();
        for validate_only in [true, false] {
            match create(blobs, validate_only).await {
                Err(Error::Invalid { field, message, .. }) => told.push((field, message)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told[0], told[1], "checked alike");
        told.remove(0)
    };
    let (field, message) = refused(&[(sha256, size)]).await;
    assert_eq!(field, "content.files[0].blob");
    assert!(message.contains(&sha256.to_string()), "{message}");
    upload(&bench).await;
    let (field, _) = refused(&[(sha256, size), (Sha256::of(b"another"), 7)]).await;
    assert_eq!(field, "content.files[1].blob");
    let (field, _) = refused(&[(sha256, size + 1)]).await;
    assert_eq!(field, "content.files[0].blob.size_bytes");
    assert_eq!(bench.app.blob(sha256).await.unwrap().1, Vec::<String>::new());
    create(&[(sha256, size)], true).await.unwrap();
    assert_eq!(bench.app.blob(sha256).await.unwrap().1, Vec::<String>::new(), "nothing was written");
    create(&[(sha256, size), (sha256, size)], false).await.unwrap();
    assert_eq!(bench.app.blob(sha256).await.unwrap().1, ["bundle/app/1"]);
}

#[tokio::test]
async fn what_is_referred_to_is_neither_deleted_nor_collected() {
    let bench = Bench::following().await;
    let sha256 = upload(&bench).await.sha256;
    bundle(&bench, 0).await;
    bundle(&bench, 1).await;
    let later = NOW + bench.app.fixed.blobs.keep_unreferenced * 2;
    bench.app.clock.advance(later.since(NOW));
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(state(&bench).await, Some(State::Here));
    let refused = bench.app.delete_blob(&alice(), sha256).await.unwrap_err();
    assert!(refused.to_string().contains("bundle/app/1"), "{refused}");
    assert_eq!(bench.app.blob(sha256).await.unwrap().1, ["bundle/app/1", "bundle/app/2"]);
    bench.app.delete_bundle(&alice(), "app".to_owned(), 1).await.unwrap();
    assert_eq!(bench.app.blob(sha256).await.unwrap().1, ["bundle/app/2"]);
    bench.app.delete_bundle(&alice(), "app".to_owned(), 0).await.unwrap();
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(state(&bench).await, Some(State::Here), "its time begins with the end of its referrer");
    bench.app.clock.advance(bench.app.fixed.blobs.keep_unreferenced);
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(state(&bench).await, None);
    let missing = bench.app.blobs.get(&sha256, CONTENT.len() as u64, 0).await;
    assert!(missing.is_err(), "the bytes are gone, too");
}

#[tokio::test]
async fn what_an_end_of_the_process_has_cut_is_finished() {
    let bench = Bench::following().await;
    let sha256 = upload(&bench).await.sha256;
    // Ended between the two writes of a removal.
    bench.write(move |tx| Ok(tx.blob_move(&sha256, State::Here, State::Leaving)?)).await;
    let refused = bench.app.begin_upload(&alice(), wish()).await;
    let Ok(Begun::Go(mut receiving)) = refused else { panic!("it is not here any more") };
    receiving.write(CONTENT).await.unwrap();
    let refused = bench.app.finish_upload(&alice(), *receiving).await.unwrap_err();
    assert!(refused.to_string().contains("being removed"), "{refused}");
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(state(&bench).await, None);
    // The upload is whole, and has only to be said to be.
    let at_its_end = Upload { offset: CONTENT.len() as u64, ..wish() };
    let Begun::Go(receiving) = bench.app.begin_upload(&alice(), at_its_end).await.unwrap() else {
        panic!("it is gone")
    };
    bench.app.finish_upload(&alice(), *receiving).await.unwrap();
    assert_eq!(state(&bench).await, Some(State::Here));

    // Ended before its upload was said to be in the storage; then the upload ran out.
    bench.write(move |tx| Ok(tx.blob_move(&sha256, State::Here, State::Arriving)?)).await;
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(state(&bench).await, None);
}

#[tokio::test]
async fn an_upload_is_its_callers_alone_and_goes_with_its_time() {
    let bench = Bench::following().await;
    let id = muster_common::ids::UploadId::from_u128(5);
    let named = || Upload { upload: Some(id), ..wish() };
    let Begun::Go(mut receiving) = bench.app.begin_upload(&alice(), named()).await.unwrap() else { panic!() };
    receiving.write(&CONTENT[..3]).await.unwrap();
    let which = crate::app::blobs::Which::Id(id);
    let bob = actor("operator/bob", whole());
    assert!(matches!(bench.app.upload(&bob, which).await, Err(Error::NotFound { .. })));
    let taken = bench.app.begin_upload(&bob, named()).await.unwrap_err();
    assert!(taken.to_string().contains("someone else's"), "{taken}");
    let (upload, received) = bench.app.upload(&alice(), which).await.unwrap();
    assert_eq!((upload.expires_at, received), (NOW + bench.app.fixed.blobs.keep_uploads, 3));

    bench.app.clock.advance(upload.expires_at.since(NOW));
    bench.app.collect_blobs().await.unwrap();
    assert!(bench.app.upload(&alice(), which).await.is_ok(), "it is being written");
    drop(receiving);
    bench.app.collect_blobs().await.unwrap();
    assert!(matches!(bench.app.upload(&alice(), which).await, Err(Error::NotFound { .. })));
    assert_eq!(bench.app.blobs.uploads().await.unwrap(), []);
}

#[tokio::test]
async fn the_file_of_no_upload_is_removed() {
    let bench = Bench::following().await;
    let Begun::Go(receiving) = bench.app.begin_upload(&alice(), wish()).await.unwrap() else { panic!() };
    drop(receiving);
    let [id] = bench.app.blobs.uploads().await.unwrap()[..] else { panic!("it has a file") };
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(bench.app.blobs.uploads().await.unwrap(), [id], "it has its time");
    bench.write(move |tx| Ok(tx.blob_upload_delete(id)?)).await;
    bench.app.collect_blobs().await.unwrap();
    assert_eq!(bench.app.blobs.uploads().await.unwrap(), []);
}
