//! What nodes should have.

use bytes::Bytes;
use muster_common::{digest::Sha256, reason::Reason};
use muster_domain::{assignment::Target, bundle::Bundle, item::MAX_WANTED};
use muster_store::WriteBundles as _;

use super::bench::{Bench, NOW, alice, hello, ledger, whole};
use crate::{
    app::{Error, assignments::Wish},
    session::{frames::Hello, ports::Desk as _},
};

fn bundle(number: usize) -> Bundle {
    Bundle {
        name: format!("b{number}"),
        version: 1,
        sha256: Sha256::of(b"{}"),
        size_bytes: 2,
        created_at: NOW,
        created_by: "operator/alice".to_owned(),
    }
}

fn wish(number: usize, selector: &str) -> Wish {
    Wish {
        name: format!("a{number}"),
        selector: selector.to_owned(),
        exclusions: Vec::new(),
        target: Target::Bundle { name: format!("b{number}"), version: 1 },
        priority: 0,
        held: false,
        etag: String::new(),
    }
}

#[tokio::test]
async fn a_node_is_not_told_to_have_more_items_than_it_can() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let payload = Bytes::from_static(b"{}");
    bench
        .write(move |tx| Ok((0..=MAX_WANTED).try_for_each(|n| tx.bundle_insert(&bundle(n), &payload))?))
        .await;
    for number in 0..MAX_WANTED {
        bench.app.create_assignment(&alice(), wish(number, "*"), false).await.unwrap();
    }
    assert_eq!(bench.app.node(&whole(), id).unwrap().desired.len(), MAX_WANTED);
    let refused = bench.app.create_assignment(&alice(), wish(MAX_WANTED, "*"), false).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::TooLarge, .. }), "{refused}");
    bench.app.update_assignment(&alice(), wish(0, "*"), false).await.unwrap();
    // One that reaches the node only after its labels change: it is left out.
    bench.app.create_assignment(&alice(), wish(MAX_WANTED, "env=prod"), false).await.unwrap();
    let labels = [("env".to_owned(), "prod".to_owned())].into();
    let edit = crate::app::nodes::Edit { labels: Some(labels), ..Default::default() };
    let view = bench.app.edit_node(&alice(), id, edit).await.unwrap();
    assert_eq!(view.desired.len(), MAX_WANTED);
}

#[tokio::test]
async fn an_agent_is_not_offered_what_it_would_pass_over_in_part() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    for (number, payload) in [(1, "{}"), (2, "v2"), (3, "v3")] {
        let payload = Bytes::from(payload);
        let bundle = Bundle { sha256: Sha256::of(&payload), ..bundle(number) };
        bench.write(move |tx| Ok(tx.bundle_insert(&bundle, &payload)?)).await;
        bench.app.create_assignment(&alice(), wish(number, "*"), false).await.unwrap();
    }
    assert!(bench.app.node(&whole(), id).unwrap().withheld.is_empty(), "who comes may be able to");
    let offered = |capabilities: &[&str]| {
        let capabilities = capabilities.iter().map(|&one| one.to_owned()).collect();
        let (handle, _) = bench.hello(id, &Hello { capabilities, ..hello(ledger(1, 1)) }).unwrap();
        let upserts = bench.app.desired(&handle).upserts;
        let items: Vec<String> = upserts.into_iter().map(|upsert| upsert.item.to_string()).collect();
        let withheld = bench.app.node(&whole(), id).unwrap().withheld;
        (items, withheld.iter().map(|(item, _)| item.to_string()).collect::<Vec<_>>())
    };
    let of = |numbers: &[u64]| numbers.iter().map(|n| format!("bundle/b{n}")).collect::<Vec<_>>();
    assert_eq!(offered(&["bundle"]), (of(&[1]), of(&[2, 3])));
    assert_eq!(offered(&["bundle", "bundle-v2"]), (of(&[1, 2]), of(&[3])));
    assert_eq!(offered(&["bundle", "bundle-v2", "bundle-v3"]), (of(&[1, 2, 3]), of(&[])));
}

#[tokio::test]
async fn two_bundles_that_write_one_path_on_one_node_are_refused() {
    let bench = Bench::following().await;
    bench.node(1).await;
    for (number, paths) in [(1, r#"["/etc/a", "/etc/b"]"#), (2, r#"["/etc/b"]"#), (3, r#"["/etc/c"]"#)] {
        let payload = Bytes::from(paths);
        bench.write(move |tx| Ok(tx.bundle_insert(&bundle(number), &payload)?)).await;
    }
    let create = async |number, selector| {
        let made = bench.app.create_assignment(&alice(), wish(number, selector), false).await;
        made.map(|it| it.name).map_err(|error| error.to_string())
    };
    create(1, "*").await.unwrap();
    let refused = create(2, "*").await.unwrap_err();
    assert!(refused.contains("\"a1\" writes \"/etc/b\""), "{refused}");
    create(2, "env=prod").await.unwrap();
    create(3, "*").await.unwrap();
    // What an assignment gave until now is not in its own way.
    let other = Wish { name: "a3".to_owned(), ..wish(4, "*") };
    let same_path = Bytes::from(r#"["/etc/c"]"#);
    bench.write(move |tx| Ok(tx.bundle_insert(&bundle(4), &same_path)?)).await;
    bench.app.update_assignment(&alice(), other, false).await.unwrap();
    // Also if a rollout is to bring it later.
    let held = Wish { held: true, name: "later".to_owned(), ..wish(2, "*") };
    assert!(bench.app.create_assignment(&alice(), held, false).await.is_err());
}
