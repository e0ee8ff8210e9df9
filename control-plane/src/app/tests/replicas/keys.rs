//! Keys of the authority that one replica has made, and that the others need.

use muster_domain::{authority::Move, secret::Secret};
use muster_store::ReadAuthority as _;

use super::*;
use crate::{
    app::{Error, authority::Source, tests::bench::alice},
    ca::Scope,
};

async fn stored(bench: &Bench, slot: u32) -> Option<Secret> {
    bench.app.store.read(move |tx| tx.authority_key(slot).map_err(Error::from)).await.unwrap()
}

#[tokio::test]
async fn any_replica_issues_from_a_slot_whose_maker_is_gone_with_its_folder() {
    let pair = Bench::pair().await;
    pair.0.app.authority_prepare(&alice(), &Source::Own(Scope::Issuing)).await.unwrap();
    let folder = pair.0.folder().join("ca/2");
    let read = || std::fs::read(folder.join("issuing.key")).unwrap();
    let key = read();
    let sealed = stored(&pair.0, 2).await.unwrap().sealed;
    assert!(!sealed.windows(32).any(|some| key.windows(32).any(|part| part == some)), "it is encrypted");
    std::fs::remove_dir_all(&folder).unwrap();
    pair.1.app.follow().await.unwrap();
    assert_eq!(read(), key, "who follows has it");
    std::fs::remove_dir_all(&folder).unwrap();
    pair.1.app.authority_go(&alice(), Move::Activate, true).await.unwrap();
    assert_eq!((pair.1.app.ca.active(), read()), (2, key), "who moves has it");
    pair.1.app.leave_authority_keys().await.unwrap();
    assert!(stored(&pair.0, 1).await.is_some(), "it was made before there was a place for it");
    pair.1.app.authority_go(&alice(), Move::Retire, true).await.unwrap();
    assert!(stored(&pair.0, 1).await.is_none(), "it signs no more");
    assert!(stored(&pair.0, 2).await.is_some());
    let before = *pair.1.app.store.committed().borrow();
    pair.1.app.leave_authority_keys().await.unwrap();
    assert_eq!(*pair.1.app.store.committed().borrow(), before, "all are there");
}

#[tokio::test]
async fn one_process_alone_leaves_no_key_of_the_authority_in_its_store() {
    let bench = Bench::new().await;
    bench.app.authority_prepare(&alice(), &Source::Own(Scope::Issuing)).await.unwrap();
    assert!(stored(&bench, 2).await.is_none());
}
