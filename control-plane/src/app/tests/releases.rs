//! Releases and channels, and what they mean for nodes.

use muster_common::{ids::NodeId, reason::Reason, tuf};
use muster_domain::{assignment::Target, item::ItemName};

use super::{
    bench::{Bench, alice, hello, ledger, whole},
    repository::{Maker, release, upload},
};
use crate::{
    app::{Error, assignments, releases::Wish},
    session::{frames::Hello, hub::Handle, ports::Desk as _},
};

fn channel(name: &str, version: &str, etag: &str) -> Wish {
    Wish { name: name.to_owned(), version: version.to_owned(), etag: etag.to_owned() }
}

async fn assign(bench: &Bench, name: &str, version: &str) -> Result<Target, Error> {
    let wish = assignments::Wish {
        name: name.to_owned(),
        selector: "*".to_owned(),
        exclusions: Vec::new(),
        target: Target::Release { version: version.to_owned() },
        priority: 0,
        held: false,
        etag: String::new(),
    };
    Ok(bench.app.create_assignment(&alice(), wish, false).await?.target)
}

fn connected(bench: &Bench, node: NodeId, agent_version: &str) -> Handle {
    let capabilities = vec!["release-v1".to_owned()];
    let hello = Hello { capabilities, agent_version: agent_version.to_owned(), ..hello(ledger(1, 1)) };
    bench.hello(node, &hello).unwrap().0
}

fn is(error: &Error, wanted: Reason) -> bool {
    matches!(error, Error::Refused { reason, .. } if *reason == wanted)
}

#[tokio::test]
async fn an_assignment_to_a_channel_is_fixed_when_it_is_stored() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let node = bench.node(1).await;
    maker.publish(&bench.app, 1, &[release("0.2.0", "any", b"2"), release("0.3.0", "any", b"3")]).await;
    let (app, by) = (&bench.app, alice());
    let set = app.set_channel(&by, channel("stable", "0.2.0", "")).await.unwrap();
    assert_eq!(app.set_channel(&by, channel("stable", "0.2.0", "")).await.unwrap(), set, "it is so already");
    let target = |version: &str| Target::Release { version: version.to_owned() };
    assert_eq!(assign(&bench, "agents", "@stable").await.unwrap(), target("0.2.0"));
    app.set_channel(&by, channel("stable", "0.3.0", &muster_domain::node::etag(set.revision))).await.unwrap();
    let handle = connected(&bench, node, "0.1.0");
    let upsert = app.desired(&handle).upserts.pop().unwrap();
    assert_eq!((upsert.item, upsert.version.version.as_str()), (ItemName::Release, "0.2.0"));
    assert!(is(&assign(&bench, "more", "0.3.0").await.unwrap_err(), Reason::Conflict));
    let stale = app.set_channel(&by, channel("stable", "0.2.0", "1")).await.unwrap_err();
    assert!(is(&stale, Reason::EtagMismatch), "{stale}");
    for (name, version) in [("stable", "0.9.0"), ("other", "0.9.0")] {
        assert!(matches!(
            app.set_channel(&by, channel(name, version, "")).await,
            Err(Error::NotFound { .. })
        ));
    }
    for (name, version) in [("Stable", "0.2.0"), ("stable", "2")] {
        assert!(matches!(app.set_channel(&by, channel(name, version, "")).await, Err(Error::Invalid { .. })));
    }
    assert!(matches!(assign(&bench, "x", "@none").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_node_is_told_of_upgrades_and_of_an_agent_that_is_too_old() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let node = bench.node(1).await;
    let view = || bench.app.node(&whole(), node).unwrap();
    let supported = || {
        let conditions = view().conditions;
        conditions.into_iter().find(|it| it.kind == "VersionSupported").map(|it| (it.holds, it.reason))
    };
    let _handle = connected(&bench, node, "0.1.0");
    assert_eq!((view().upgrade_available, supported()), (None, None), "nothing is published");
    maker.publish(&bench.app, 1, &[release("0.2.0", "any", b"2"), release("0.3.0", "any", b"3")]).await;
    assert_eq!(view().upgrade_available, None, "nothing is recommended");
    assert_eq!(supported(), Some((Some(true), "Supported".to_owned())));
    bench.app.set_channel(&alice(), channel("stable", "0.3.0", "")).await.unwrap();
    assert_eq!(view().upgrade_available.as_deref(), Some("0.3.0"));
    maker.publish(&bench.app, 2, &[release("0.3.0", "any", b"3"), release("0.4.0", "any", b"4")]).await;
    assert_eq!(supported(), Some((Some(false), "TooOld".to_owned())));
    let _handle = connected(&bench, node, "0.4.0");
    assert_eq!(view().upgrade_available, None);
    assert_eq!(supported().unwrap().0, Some(true));
}

#[tokio::test]
async fn a_release_can_be_withdrawn_and_gets_more_kinds_of_hosts() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let node = bench.node(1).await;
    maker.publish(&bench.app, 1, &[release("0.2.0", "x86_64", b"2")]).await;
    assign(&bench, "agents", "0.2.0").await.unwrap();
    let handle = connected(&bench, node, "0.1.0");
    let first = bench.app.desired(&handle).upserts.pop().unwrap();
    maker
        .publish(&bench.app, 2, &[release("0.2.0", "x86_64", b"2"), release("0.2.0", "aarch64", b"2a")])
        .await;
    let second = bench.app.desired(&handle).upserts.pop().unwrap();
    assert!(
        second.version.sha256 != first.version.sha256 && second.version.generation > first.version.generation
    );
    let other = [release("0.2.0", "x86_64", b"2"), release("0.2.0", "aarch64", b"other")];
    assert_eq!(refused(&mut maker, &bench, 3, &other).await, Reason::RepositoryInvalid, "a version is fixed");
    bench.app.delete_assignment(&alice(), "agents".to_owned(), String::new()).await.unwrap();
    maker.publish(&bench.app, 3, &[]).await;
    let all = bench.app.all_releases().await.unwrap();
    assert!(all[0].0.withdrawn_at.is_some());
    assert!(is(&assign(&bench, "more", "0.2.0").await.unwrap_err(), Reason::PackageNotPublished));
    let other = [release("0.2.0", "x86_64", b"other")];
    assert_eq!(refused(&mut maker, &bench, 4, &other).await, Reason::RepositoryInvalid, "also withdrawn");
    maker.publish(&bench.app, 4, &[release("0.2.0", "x86_64", b"2")]).await;
    assert!(bench.app.all_releases().await.unwrap()[0].0.withdrawn_at.is_none());
}

async fn refused(maker: &mut Maker, bench: &Bench, edition: u64, files: &[(tuf::Target, Vec<u8>)]) -> Reason {
    for (_, content) in files {
        upload(&bench.app, content).await;
    }
    let targets: Vec<tuf::Target> = files.iter().map(|(target, _)| target.clone()).collect();
    maker.edit(edition, &targets);
    match bench.app.publish_repository(&alice(), maker.files.clone(), false).await.unwrap_err() {
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_somebody_needs_stays_published() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let (two, three) = (release("0.2.0", "any", b"2"), release("0.3.0", "any", b"3"));
    let four = release("0.4.0", "any", b"4");
    maker.publish(&bench.app, 1, &[two.clone(), three.clone(), four.clone()]).await;
    bench.app.set_channel(&alice(), channel("stable", "0.2.0", "")).await.unwrap();
    assign(&bench, "agents", "0.3.0").await.unwrap();
    let only = |files: &[&(tuf::Target, Vec<u8>)]| files.iter().map(|it| (*it).clone()).collect::<Vec<_>>();
    assert_eq!(refused(&mut maker, &bench, 2, &only(&[&three, &four])).await, Reason::InUse, "the channel");
    assert_eq!(refused(&mut maker, &bench, 2, &only(&[&two, &four])).await, Reason::InUse, "the assignment");
    maker.publish(&bench.app, 2, &[two.clone(), three.clone()]).await;
    let set = bench.app.channel("stable".to_owned()).await.unwrap();
    let etag = muster_domain::node::etag(set.revision);
    bench.app.set_channel(&alice(), channel("stable", "0.3.0", &etag)).await.unwrap();
    maker.publish(&bench.app, 3, &[three]).await;
}
