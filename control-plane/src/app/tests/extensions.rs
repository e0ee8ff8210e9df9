//! Extensions: made of packages, given to agents that know them, with settings that nobody sees.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::{
    ids::NodeId,
    reason::Reason,
    sealing::{Address, SealingKey},
};
use muster_domain::{
    assignment::Target,
    item::{Health, ItemName, ItemState, Outcome, Progress},
};
use muster_store::ReadSecrets as _;
use zeroize::Zeroizing;

use super::{
    bench::{Bench, NOW, alice, hello, ledger, whole},
    repository::{Maker, package},
};
use crate::{
    app::{
        Error,
        assignments::Wish,
        explain::Verdict,
        extensions::{Chosen, Draft},
        secrets::Value,
    },
    session::{
        frames::{Hello, ItemReport, Upsert},
        hub::Handle,
        ports::{Desk as _, Inbox as _},
    },
};

fn draft(package_version: &str, settings: &'static str, protected: Option<Value>) -> Draft {
    Draft {
        name: "metrics".to_owned(),
        publisher: "muster".to_owned(),
        of_type: "exporter".to_owned(),
        package_version: package_version.to_owned(),
        protected: protected.map(Arc::new),
        encode: Arc::new(move |chosen: &Chosen<'_>| {
            let names: Vec<&str> = chosen.files.iter().map(|file| file.arch.as_str()).collect();
            let id = chosen.protected.map(|id| id.to_string()).unwrap_or_default();
            Bytes::from(format!("{} {names:?} {settings} {id}", chosen.package_version))
        }),
    }
}

fn given(content: &str) -> Option<Value> {
    Some(Value::Given(Zeroizing::new(content.as_bytes().to_vec())))
}

async fn create(bench: &Bench, draft: Draft) -> Result<(u64, String), Error> {
    let made = bench.app.create_extension(&alice(), draft, false).await?;
    Ok((made.version, made.package_version))
}

async fn assign(bench: &Bench, version: u64) {
    let target = Target::Extension { name: "metrics".to_owned(), version };
    let wish = Wish {
        name: "metrics".to_owned(),
        selector: "*".to_owned(),
        exclusions: Vec::new(),
        target,
        priority: 0,
        held: false,
        etag: String::new(),
    };
    bench.app.create_assignment(&alice(), wish, false).await.unwrap();
}

async fn published() -> Bench {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let files = [
        package("1.6.0", "x86_64", b"1.6 amd64"),
        package("1.6.0", "aarch64", b"1.6 arm64"),
        package("1.10.0", "any", b"1.10"),
        package("2.0.0-rc.1", "any", b"2.0"),
    ];
    maker.publish(&bench.app, 1, &files).await;
    bench
}

fn connected(bench: &Bench, node: NodeId, key: &[u8], capabilities: &[&str]) -> Handle {
    let capabilities = capabilities.iter().map(|&one| one.to_owned()).collect();
    let hello = Hello { capabilities, sealing_key: key.to_vec(), ..hello(ledger(1, 1)) };
    bench.hello(node, &hello).unwrap().0
}

fn said(bench: &Bench, handle: &Handle, upsert: &Upsert, change: impl Fn(&mut ItemState)) {
    let mut state = ItemState {
        item: upsert.item.clone(),
        running: Some(upsert.version.clone()),
        attempted: Some(upsert.version.clone()),
        outcome: Some(Outcome::Applied),
        error: None,
        changed_at: NOW,
        drift: Vec::new(),
        progress: None,
        health: None,
    };
    change(&mut state);
    bench.app.items(handle, ItemReport { seq: 1, items: vec![state], complete: true, traces: Vec::new() });
}

#[tokio::test]
async fn an_extension_has_the_files_of_its_package() {
    let bench = published().await;
    let packages = bench.app.packages().await.unwrap();
    let versions: Vec<_> = packages[0].versions.iter().map(|it| it.version.as_str()).collect();
    assert_eq!(versions, ["2.0.0-rc.1", "1.10.0", "1.6.0"]);
    assert_eq!(packages[0].versions[2].platforms, ["linux-aarch64", "linux-x86_64"]);
    // The newest, and no pre-release; in the order of versions, not of letters.
    assert_eq!(create(&bench, draft("", "{}", None)).await.unwrap(), (1, "1.10.0".to_owned()));
    assert_eq!(create(&bench, draft("1.10.0", "{}", None)).await.unwrap().0, 1, "it is the same");
    assert_eq!(create(&bench, draft("1.6.0", "{}", None)).await.unwrap().0, 2);
    let (_, payload) = bench.app.extension("metrics".to_owned(), 0).await.unwrap();
    assert_eq!(payload, "1.6.0 [\"aarch64\", \"x86_64\"] {} ");
    for (version, of_type) in [("3.0.0", "exporter"), ("", "nothing")] {
        let wrong = Draft { of_type: of_type.to_owned(), ..draft(version, "{}", None) };
        let refused = create(&bench, wrong).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { reason: Reason::PackageNotPublished, .. }), "{refused}");
    }
}

#[tokio::test]
async fn only_agents_that_know_extensions_get_them() {
    let bench = published().await;
    let node = bench.node(1).await;
    create(&bench, draft("", "{}", None)).await.unwrap();
    assign(&bench, 0).await;
    let old = connected(&bench, node, &[], &["bundle"]);
    assert_eq!(bench.app.desired(&old).upserts, []);
    let item = ItemName::Extension("metrics".to_owned());
    let explained = bench.app.explain_item(&whole(), node, item.clone()).await.unwrap();
    assert_eq!(explained.verdict, Verdict::AgentTooOld);
    let new = connected(&bench, node, &[], &["bundle", "extensions-v1"]);
    let upsert = bench.app.desired(&new).upserts.pop().unwrap();
    assert_eq!((upsert.item.clone(), upsert.version.version.as_str()), (item, "1"));
    let refused = bench.app.delete_extension(&alice(), "metrics".to_owned(), 0).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::InUse, .. }), "{refused}");
}

#[tokio::test]
async fn where_it_is_and_how_it_is_are_explained() {
    let bench = published().await;
    let node = bench.node(1).await;
    create(&bench, draft("", "{}", None)).await.unwrap();
    assign(&bench, 0).await;
    let handle = connected(&bench, node, &[], &["extensions-v1"]);
    let upsert = bench.app.desired(&handle).upserts.pop().unwrap();
    let explained = async || {
        let item = ItemName::Extension("metrics".to_owned());
        let found = bench.app.explain_item(&whole(), node, item).await.unwrap();
        let texts: Vec<String> = found.reasons.into_iter().map(|reason| reason.text).collect();
        (found.verdict, texts.join("\n"))
    };
    let progress = Progress { step: "enable".to_owned(), percent: 40, since: NOW, message: String::new() };
    said(&bench, &handle, &upsert, |state| {
        (state.outcome, state.progress) = (None, Some(progress.clone()));
    });
    let (verdict, texts) = explained().await;
    assert!(
        verdict == Verdict::OnItsWay && texts.contains("\"enable\"") && texts.contains("40 %"),
        "{texts}"
    );
    let health = |healthy| Some(Health { healthy, message: "no answer on port 9100".to_owned(), since: NOW });
    said(&bench, &handle, &upsert, |state| state.health = health(false));
    let (verdict, texts) = explained().await;
    assert!(verdict == Verdict::Unhealthy && texts.contains("no answer on port 9100"), "{texts}");
    said(&bench, &handle, &upsert, |state| state.health = health(true));
    assert_eq!(explained().await.0, Verdict::InSync);
}

#[tokio::test]
async fn protected_settings_reach_their_node_and_nobody_else() {
    let bench = published().await;
    let node = bench.node(1).await;
    assert_eq!(create(&bench, draft("", "{}", given("{\"a\":\"hunter2\"}"))).await.unwrap().0, 1);
    assert_eq!(create(&bench, draft("", "{}", given("{\"a\":\"hunter2\"}"))).await.unwrap().0, 1);
    assign(&bench, 1).await;
    let key = SealingKey::generate().unwrap();
    let handle = connected(&bench, node, key.public(), &["extensions-v1"]);
    let upsert = bench.app.desired(&handle).upserts.pop().unwrap();
    let (item, sha256) = (upsert.item.to_string(), upsert.version.sha256);
    let opened = key.open(Address { node, item: &item, sha256 }, &upsert.sealed.unwrap()).unwrap();
    let (id, content) = opened.iter().next().unwrap();
    assert_eq!(content.as_slice(), b"{\"a\":\"hunter2\"}");
    assert!(!upsert.payload.windows(7).any(|window| window == b"hunter2"));
    for file in ["muster.db", "muster.db-wal"] {
        let bytes = std::fs::read(bench.folder().join(file)).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{file}");
    }
    // Other settings, and the same protected ones without knowing them.
    assert_eq!(create(&bench, draft("", "{1}", Some(Value::Kept(*id)))).await.unwrap().0, 2);
    let other = Draft { name: "mine".to_owned(), ..draft("", "{}", Some(Value::Kept(*id))) };
    assert!(matches!(create(&bench, other).await, Err(Error::Invalid { .. })));
    // They go with the last version that has them.
    bench.app.delete_assignment(&alice(), "metrics".to_owned(), String::new()).await.unwrap();
    bench.app.delete_extension(&alice(), "metrics".to_owned(), 0).await.unwrap();
    assert_eq!(bench.app.store.read(|tx| Ok::<_, Error>(tx.secret_keys()?)).await.unwrap(), []);
    assert_eq!(create(&bench, draft("", "{}", None)).await.unwrap().0, 3, "no number comes twice");
}
