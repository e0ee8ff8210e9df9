//! What is decided in a write while memory is behind the store.

use muster_common::ids::NodeId;
use muster_domain::labels::{Labels, Selector};
use muster_store::WriteNodes as _;

use super::bench::{Bench, whole};
use crate::app::{operations::matching_now, written::Written};

fn env(name: &str) -> Labels {
    Labels::from([("env".to_owned(), name.to_owned())])
}

#[tokio::test]
async fn an_operation_goes_to_the_nodes_that_match_when_it_is_written() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for (number, name) in (1..).zip(["dev", "dev", "dev", "prod"]) {
        let id = bench.node(number).await;
        bench.write(move |tx| Ok(tx.node_edit(id, "n", &env(name))?)).await;
        ids.push(id);
    }
    bench.app.follow().await.unwrap();
    let (known, selector) = (*bench.app.feed.applied().borrow(), Selector::parse("env=dev").unwrap());
    let matching = bench.app.matching(&whole(), &selector);
    assert_eq!(matching, ids[..3]);
    // Memory does not follow any more: one is removed, one leaves, one comes.
    let [_, removed, left, came] = ids.clone().try_into().unwrap();
    bench.write(move |tx| Ok(tx.node_delete(removed)?)).await;
    bench.write(move |tx| Ok(tx.node_edit(left, "n", &env("prod"))?)).await;
    bench.write(move |tx| Ok(tx.node_edit(came, "n", &env("dev"))?)).await;
    assert_eq!(bench.app.matching(&whole(), &selector), ids[..3]);
    let expected: Vec<NodeId> = vec![ids[0], came];
    let dev = selector.clone();
    bench
        .write(move |tx| {
            let written = Written::since(tx, known)?;
            assert_eq!(matching_now(&matching, &written, &whole(), &dev), expected);
            let sight = |node| written.get(node).map(Option::is_some);
            assert_eq!((sight(removed), sight(left), sight(expected[0])), (Some(false), Some(true), None));
            Ok(())
        })
        .await;
}
