//! Which nodes a list shows.

use muster_common::ids::NodeId;
use muster_domain::{
    facts::Facts,
    labels::{Labels, Selector},
    node::Node,
    page::Page,
};
use muster_store::WriteNodes as _;

use super::bench::{Bench, alice, node, whole};

/// With a name, and a label that half of all have.
async fn named(bench: &Bench, number: u128) {
    let labels = Labels::from([("half", (number % 2).to_string())]);
    let facts = Facts { hostname: format!("host-{number}"), ..Facts::default() }.into();
    let node = Node { labels, facts, ..node(number) };
    bench.write(move |tx| Ok(tx.node_insert(&node)?)).await;
    bench.app.follow().await.unwrap();
}

/// Ids on each page of so many, and how many there are said to be in all.
fn pages(bench: &Bench, selector: &str, size: u32) -> (Vec<Vec<NodeId>>, usize) {
    let (selector, mut page) = (Selector::parse(selector).unwrap(), Page { size, after: None });
    let mut pages = Vec::new();
    loop {
        let (listed, total) = bench.app.nodes(&whole(), &selector, &page).unwrap();
        pages.push(listed.rows.iter().map(|view| view.node.id).collect());
        match listed.next {
            Some(after) => page.after = Some(after),
            None => return (pages, total),
        }
    }
}

#[tokio::test]
async fn pages_are_in_order_of_ids_wherever_nodes_stand_in_memory() {
    let bench = Bench::following().await;
    let ids = [1, 2, 3, 5, 6, 4, 7].map(NodeId::from_u128);
    for number in [1, 2, 3, 5] {
        named(&bench, number).await;
    }
    bench.app.remove_node(&alice(), ids[1], String::new(), String::new()).await.unwrap();
    // They get the place of the one that left, and those behind the last one.
    for number in [6, 4, 7] {
        named(&bench, number).await;
    }
    let [one, _, three, five, six, four, seven] = ids;
    assert_eq!(pages(&bench, "*", 4), (vec![vec![one, three, four, five], vec![six, seven]], 6));
    assert_eq!(pages(&bench, "half=1", 2), (vec![vec![one, three], vec![five, seven]], 4));
    assert_eq!(pages(&bench, "half=2", 2), (vec![vec![]], 0));
}

#[tokio::test]
async fn a_host_is_found_by_its_name() {
    let bench = Bench::following().await;
    for number in 1..=3 {
        named(&bench, number).await;
    }
    let [one, two, three] = [1, 2, 3].map(NodeId::from_u128);
    assert_eq!(pages(&bench, "facts.hostname=host-2", 9), (vec![vec![two]], 1));
    assert_eq!(pages(&bench, "facts.hostname!=host-2", 9), (vec![vec![one, three]], 2));
    assert_eq!(pages(&bench, "facts.hostname in (host-1,host-2),half=1", 9), (vec![vec![one]], 1));
}

#[tokio::test]
async fn every_page_of_many_nodes_is_in_its_place_and_says_how_many_there_are() {
    const MANY: u128 = 10_000;
    let bench = Bench::new().await;
    // Not in the order of ids: 7919 and 10,000 have no common divisor.
    let numbers = || (0..MANY).map(|n| n * 7919 % MANY + 1);
    for number in numbers() {
        let labels = Labels::from([("half", (number % 2).to_string())]);
        let facts = Facts { hostname: format!("host-{}", number % 3), ..Facts::default() }.into();
        let node = Node { labels, facts, ..node(number) };
        bench.app.fleet.put(node, 1, |_| muster_domain::liveness::Tracker::new());
    }
    let of = |holds: fn(u128) -> bool| -> Vec<NodeId> {
        (1..=MANY).filter(|number| holds(*number)).map(NodeId::from_u128).collect()
    };
    for (selector, ids) in [
        ("*", of(|_| true)),
        ("half=1", of(|number| number % 2 == 1)),
        ("facts.hostname=host-2,half=0", of(|number| number % 6 == 2)),
    ] {
        let (found, total) = pages(&bench, selector, 1500);
        assert_eq!((total, found.concat()), (ids.len(), ids.clone()), "{selector}");
        assert!(found[..found.len() - 1].iter().all(|page| page.len() == 1500), "{selector}");
        let selector = Selector::parse(selector).unwrap();
        assert_eq!(bench.app.fleet.count_matching(&whole(), &selector), ids.len());
        assert_eq!(bench.app.matching(&whole(), &selector), ids);
    }
}
