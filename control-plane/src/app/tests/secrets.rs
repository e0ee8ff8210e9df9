//! Protected contents: who has them when, and who never.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::{
    ids::{NodeId, SecretId},
    reason::Reason,
    sealing::{Address, SealingKey},
};
use muster_domain::{access::Scope, assignment::Target, bundle::Bundle};
use muster_store::ReadSecrets as _;
use zeroize::Zeroizing;

use super::bench::{Bench, actor, alice, hello, ledger, whole};
use crate::{
    app::{
        Error,
        assignments::Wish,
        secrets::{Draft, Protected, Value},
    },
    session::{
        frames::{Hello, Upsert},
        ports::Desk as _,
    },
};

/// A content with one protected file; its bytes are the ids of what is protected.
fn draft(value: Value) -> Draft {
    let protected = Protected { field: "content.files[0]".to_owned(), path: "/etc/key".to_owned(), value };
    let encode = |ids: &[SecretId]| Bytes::from(format!("{ids:?}"));
    Draft { protected: vec![protected], encode: Arc::new(encode), open_bytes: 0 }
}

fn given(content: &str) -> Value {
    Value::Given(Zeroizing::new(content.as_bytes().to_vec()))
}

async fn create(bench: &Bench, name: &str, value: Value) -> Result<Bundle, Error> {
    bench.app.create_bundle(&alice(), name.to_owned(), draft(value), false).await
}

async fn uses(bench: &Bench, version: u64) -> Vec<SecretId> {
    let read = move |tx: &mut muster_store::ReadTx<'_>| Ok::<_, Error>(tx.secret_uses("web", version)?);
    bench.app.store.read(read).await.unwrap().into_iter().map(|used| used.id).collect()
}

fn wish(version: u64) -> Wish {
    Wish {
        name: "web".to_owned(),
        selector: "*".to_owned(),
        exclusions: Vec::new(),
        target: Target::Bundle { name: "web".to_owned(), version },
        priority: 0,
        held: false,
        etag: String::new(),
    }
}

async fn assign(bench: &Bench, version: u64) {
    bench.app.create_assignment(&alice(), wish(version), false).await.unwrap();
}

fn offered(bench: &Bench, node: NodeId, key: &[u8], capabilities: &[&str]) -> Option<Upsert> {
    let capabilities = capabilities.iter().map(|&one| one.to_owned()).collect();
    let hello = Hello { capabilities, sealing_key: key.to_vec(), ..hello(ledger(1, 1)) };
    let (handle, _) = bench.hello(node, &hello).unwrap();
    bench.app.desired(&handle).upserts.pop()
}

fn why(bench: &Bench, node: NodeId) -> Vec<Reason> {
    bench.app.node(&whole(), node).unwrap().withheld.into_iter().map(|(_, why)| why).collect()
}

#[tokio::test]
async fn only_who_may_change_a_bundle_gives_its_protected_contents_to_nodes() {
    let bench = Bench::following().await;
    create(&bench, "web", given("hunter2")).await.unwrap();
    let part = Scope { reach: "env=test".parse().unwrap(), ..whole() };
    let deployer = actor("operator/bob", part);
    let refused = bench.app.create_assignment(&deployer, wish(0), false).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::PermissionDenied, .. }), "{refused}");
}

#[tokio::test]
async fn a_protected_content_reaches_its_nodes_and_nobody_else() {
    let bench = Bench::following().await;
    let (one, two) = (bench.node(1).await, bench.node(2).await);
    create(&bench, "web", given("hunter2")).await.unwrap();
    assign(&bench, 1).await;
    let keys = [SealingKey::generate().unwrap(), SealingKey::generate().unwrap()];
    let all = ["bundle", "bundle-v2", "bundle-v3"];
    for (node, key) in [(one, &keys[0]), (two, &keys[1])] {
        let upsert = offered(&bench, node, key.public(), &all).unwrap();
        let (item, sealed) = (upsert.item.to_string(), upsert.sealed.unwrap());
        let address = |node| Address { node, item: &item, sha256: upsert.version.sha256 };
        let opened = key.open(address(node), &sealed).unwrap();
        assert_eq!(opened[&uses(&bench, 1).await[0]].as_slice(), b"hunter2");
        let other = if node == one { (two, &keys[1]) } else { (one, &keys[0]) };
        assert!(other.1.open(address(other.0), &sealed).is_err());
        assert!(!upsert.payload.windows(7).any(|window| window == b"hunter2"));
    }
    // Not on the disk either, wherever in the database one looks.
    for file in ["muster.db", "muster.db-wal"] {
        let bytes = std::fs::read(bench.folder().join(file)).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{file}");
    }
}

#[tokio::test]
async fn who_cannot_open_it_is_not_told_of_the_bundle() {
    let bench = Bench::following().await;
    let node = bench.node(1).await;
    create(&bench, "web", given("hunter2")).await.unwrap();
    assign(&bench, 1).await;
    let key = SealingKey::generate().unwrap();
    assert_eq!(offered(&bench, node, &[], &["bundle", "bundle-v2", "bundle-v3"]), None);
    assert_eq!(why(&bench, node), [Reason::ItemKindUnknown]);
    // A key with which nothing can be sealed is told once, not at every word of its host.
    let (hello, all) = (Hello { sealing_key: vec![0; 32], ..hello(ledger(1, 1)) }, ["bundle", "bundle-v3"]);
    let capabilities = all.map(str::to_owned).to_vec();
    let (handle, _) = bench.hello(node, &Hello { capabilities, ..hello }).unwrap();
    assert_eq!(bench.app.desired(&handle).upserts, []);
    assert_eq!(why(&bench, node), [Reason::ProtectedUnreadable]);
    assert!(offered(&bench, node, key.public(), &["bundle", "bundle-v3"]).is_some());
}

#[tokio::test]
async fn the_same_content_is_the_same_version_and_another_is_not() {
    let bench = Bench::following().await;
    let version = async |value| create(&bench, "web", value).await.map(|bundle| bundle.version);
    assert_eq!(version(given("hunter2")).await.unwrap(), 1);
    assert_eq!(version(given("hunter2")).await.unwrap(), 1);
    assert_eq!(version(given("hunter3")).await.unwrap(), 2);
    let (first, second) = (uses(&bench, 1).await[0], uses(&bench, 2).await[0]);
    assert_ne!(first, second);
    // Back to what an older version has, without knowing it.
    assert_eq!(version(Value::Kept(second)).await.unwrap(), 2);
    assert_eq!(version(Value::Kept(first)).await.unwrap(), 3);
    assert_eq!(uses(&bench, 3).await, [first]);
}

#[tokio::test]
async fn a_content_of_another_bundle_cannot_be_kept() {
    let bench = Bench::following().await;
    create(&bench, "web", given("hunter2")).await.unwrap();
    let id = uses(&bench, 1).await[0];
    for (name, id) in [("mine", id), ("web", SecretId::from_u128(7))] {
        let refused = create(&bench, name, Value::Kept(id)).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Invalid { field, .. } if field == "content.files[0].protected_id"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn contents_that_stay_count_and_go_with_their_last_version() {
    let bench = Bench::following().await;
    create(&bench, "web", given(&"x".repeat(60_000))).await.unwrap();
    let kept = Value::Kept(uses(&bench, 1).await[0]);
    let more = Draft { open_bytes: 10_000, ..draft(kept) };
    let refused = bench.app.create_bundle(&alice(), "web".to_owned(), more, false).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { reason: Reason::TooLarge, .. }), "{refused}");
    let count = async || bench.app.store.read(|tx| Ok::<_, Error>(tx.secret_keys()?)).await.unwrap();
    assert_eq!(count().await.len(), 1);
    bench.app.delete_bundle(&alice(), "web".to_owned(), 0).await.unwrap();
    assert_eq!(count().await, []);
}

#[tokio::test]
async fn a_new_key_takes_over_what_an_older_one_has_encrypted() {
    let bench = Bench::following().await;
    create(&bench, "web", given("hunter2")).await.unwrap();
    let file = crate::vault::KeyFile::at(&bench.folder().join("secrets.key"));
    let added = file.add().unwrap();
    let bench = bench.killed().await;
    bench.follow();
    bench.app.renew_secrets().await.unwrap();
    let keys = bench.app.store.read(|tx| Ok::<_, Error>(tx.secret_keys()?)).await.unwrap();
    assert_eq!(keys, [(added, 1)]);
    assert_eq!(create(&bench, "web", given("hunter2")).await.unwrap().version, 1, "it is still the same");
}

#[tokio::test]
async fn what_no_key_can_read_is_withheld_and_the_rest_goes_on() {
    let bench = Bench::following().await;
    let node = bench.node(1).await;
    create(&bench, "web", given("hunter2")).await.unwrap();
    assign(&bench, 1).await;
    std::fs::remove_file(bench.folder().join("secrets.key")).unwrap();
    let bench = bench.killed().await; // with a key of its own
    bench.app.renew_secrets().await.unwrap();
    let key = SealingKey::generate().unwrap();
    assert_eq!(offered(&bench, node, key.public(), &["bundle", "bundle-v3"]), None);
    assert_eq!(why(&bench, node), [Reason::ProtectedUnreadable]);
}
