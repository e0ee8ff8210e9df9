//! The signed repository: what is published, what is refused, and what hosts read.

use std::time::Duration;

use muster_common::{digest::Sha256, reason::Reason};
use muster_domain::page::Page;
use muster_store::ReadBlobs as _;

use super::{
    bench::{Bench, NOW, alice},
    repository::{Maker, package, release, upload},
};
use crate::app::{
    App, Error,
    artifacts::{Files, Source},
};

async fn refused(app: &App, files: &Files) -> Reason {
    match app.publish_repository(&alice(), files.clone(), false).await.unwrap_err() {
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

async fn names(app: &App) -> Vec<String> {
    let listed = app.targets(Page { size: 100, after: None }).await.unwrap();
    listed.rows.into_iter().map(|target| target.name).collect()
}

async fn read(bench: &Bench, path: &str, offset: u64) -> Option<Vec<u8>> {
    let node = muster_common::ids::NodeId::from_u128(1);
    match bench.app.artifact(node, path.to_owned(), offset).await {
        Ok(given) => match given.source {
            Source::Whole(bytes) => Some(bytes.to_vec()),
            Source::Blob(mut reader) => {
                let mut all = Vec::new();
                while let Some(piece) = reader.next().await.unwrap() {
                    all.extend_from_slice(&piece);
                }
                Some(all)
            }
        },
        Err(Error::NotFound { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_was_published_can_be_read_as_from_any_mirror() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    bench.node(1).await;
    assert!(matches!(bench.app.repository().await, Err(Error::NotFound { .. })));
    let file = package("1.6.0", "any", b"the package");
    maker.publish(&bench.app, 1, std::slice::from_ref(&file)).await;
    for (path, content) in &maker.files {
        assert_eq!(read(&bench, path, 0).await.as_ref(), Some(content), "{path}");
    }
    let sha256 = Sha256::of(b"the package");
    let path = format!("targets/{sha256}.{}", file.0.name);
    assert_eq!(read(&bench, &path, 4).await.as_deref(), Some(b"package".as_slice()));
    for none in [
        "targets/x",
        "metadata/2.root.json",
        "metadata/../metadata/timestamp.json",
        &path.replace("1.6", "1.7"),
    ] {
        assert_eq!(read(&bench, none, 0).await, None, "{none}");
    }
    // A blob that the repository does not name is no part of it.
    upload(&bench.app, b"another").await;
    let other = format!("targets/{}.{}", Sha256::of(b"another"), file.0.name);
    assert_eq!(read(&bench, &other, 0).await, None);
}

#[tokio::test]
async fn the_same_again_changes_nothing_and_older_is_refused() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    maker.publish(&bench.app, 1, &[package("1.0.0", "any", b"one")]).await;
    let first = maker.files.clone();
    let revision =
        async || bench.app.store.read(|tx| Ok::<_, Error>(muster_store::ReadMeta::revision(tx)?)).await;
    let before = revision().await.unwrap();
    bench.app.publish_repository(&alice(), first.clone(), false).await.unwrap();
    let timestamp = first.iter().filter(|(path, _)| path.ends_with("timestamp.json"));
    let timestamp = timestamp.map(|(path, content)| (path.clone(), content.clone())).collect();
    bench.app.publish_repository(&alice(), timestamp, false).await.unwrap();
    assert_eq!(revision().await.unwrap(), before, "nothing was written");
    maker.publish(&bench.app, 2, &[package("2.0.0", "any", b"two")]).await;
    assert_eq!(refused(&bench.app, &first).await, Reason::ArtifactRolledBack);
    assert_eq!(names(&bench.app).await, ["extension/muster/exporter/2.0.0/linux-any.tar.zst"]);
    // The same numbers on other files: nobody would know which is meant.
    maker.edit(2, &[package("1.0.0", "any", b"one").0]);
    assert_eq!(refused(&bench.app, &maker.files).await, Reason::ArtifactUntrusted);
    maker.files.retain(|path, _| path == "metadata/timestamp.json");
    assert_eq!(refused(&bench.app, &maker.files).await, Reason::RepositoryStale);
}

#[tokio::test]
async fn what_an_agent_would_refuse_is_not_published() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let file = package("1.0.0", "any", b"one");
    maker.edit(1, std::slice::from_ref(&file.0));
    assert_eq!(refused(&bench.app, &maker.files).await, Reason::TargetMissing);
    upload(&bench.app, b"one").await;
    let mut mixed = maker.files.clone();
    mixed.remove("metadata/1.snapshot.json");
    assert_eq!(refused(&bench.app, &mixed).await, Reason::RepositoryInvalid);
    let mut foreign = Maker::new();
    foreign.edit(1, std::slice::from_ref(&file.0));
    foreign.files.remove("metadata/1.root.json");
    assert_eq!(refused(&bench.app, &foreign.files).await, Reason::ArtifactUntrusted);
    let root = foreign.files.clone().into_iter().chain(Maker::new().files).collect();
    assert_ne!(refused(&bench.app, &root).await, Reason::Internal);
    maker.expires = NOW - Duration::from_secs(1);
    maker.edit(1, std::slice::from_ref(&file.0));
    assert_eq!(refused(&bench.app, &maker.files).await, Reason::ArtifactExpired);
    assert!(bench.app.repository().await.is_err(), "nothing of it is here");
    let without = Bench::following().await;
    assert_eq!(refused(&without.app, &maker.files).await, Reason::NoTrustRoot);
}

#[tokio::test]
async fn a_file_says_what_it_is_under_the_name_of_such_a_file() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    upload(&bench.app, b"one").await;
    let (good, _) = package("1.0.0", "any", b"one");
    let renamed = muster_common::tuf::Target {
        name: "extension/other/x/1.0.0/linux-any.tar.zst".to_owned(),
        ..good.clone()
    };
    let silent = muster_common::tuf::Target { about: None, ..good };
    for wrong in [renamed, silent, package("1.0", "any", b"one").0] {
        maker.edit(1, &[wrong]);
        assert_eq!(refused(&bench.app, &maker.files).await, Reason::RepositoryInvalid);
    }
}

#[tokio::test]
async fn bytes_stay_as_long_as_the_newest_state_names_them() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    maker
        .publish(&bench.app, 1, &[package("1.0.0", "any", b"one"), release("0.2.0", "x86_64", b"agent")])
        .await;
    let referrers = async |content: &'static [u8]| {
        let read = move |tx: &mut muster_store::ReadTx<'_>| {
            Ok::<_, Error>(tx.blob_referrers(&Sha256::of(content), 9)?)
        };
        bench.app.store.read(read).await.unwrap()
    };
    assert_eq!(referrers(b"one").await, ["repository"]);
    assert!(bench.app.delete_blob(&alice(), Sha256::of(b"agent")).await.is_err());
    maker.publish(&bench.app, 2, &[package("1.0.0", "any", b"one")]).await;
    assert_eq!((referrers(b"one").await.len(), referrers(b"agent").await.len()), (1, 0));
    bench.app.delete_blob(&alice(), Sha256::of(b"agent")).await.unwrap();
    // Who has just read the timestamp of before finds the rest of it.
    bench.node(1).await;
    assert!(read(&bench, "metadata/1.snapshot.json", 0).await.is_some());
    maker.publish(&bench.app, 3, &[package("1.0.0", "any", b"one")]).await;
    assert!(read(&bench, "metadata/1.snapshot.json", 0).await.is_none());
}

#[tokio::test]
async fn the_ends_of_roles_are_watched() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    bench.app.watch_repository().await.unwrap();
    maker.publish(&bench.app, 1, &[]).await;
    bench.app.watch_repository().await.unwrap();
    let text = bench.app.metrics.encode();
    assert!(text.contains("muster_repository_expires_in_seconds{role=\"timestamp\"} 2592000"), "{text}");
}

#[tokio::test]
async fn a_node_in_quarantine_reads_nothing() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let node = bench.node(1).await;
    maker.publish(&bench.app, 1, &[]).await;
    bench.app.quarantine_node(&alice(), node, "test".to_owned()).await.unwrap();
    let refused = bench.app.artifact(node, "metadata/timestamp.json".to_owned(), 0).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::Quarantined, .. }), "{refused}");
}
