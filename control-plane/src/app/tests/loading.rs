//! What a start finds.

use muster_store::WriteNodes as _;

use super::bench::{Bench, node};

#[tokio::test]
async fn a_start_finds_all_nodes_in_however_many_pages_they_are_read() {
    let mut bench = Bench::new().await;
    // A full page, and one more.
    for numbers in [1..=1000, 1001..=1001] {
        let last = *numbers.end();
        bench
            .write(move |tx| numbers.clone().try_for_each(|number| Ok(tx.node_insert(&node(number))?)))
            .await;
        bench = bench.killed().await;
        assert_eq!(bench.app.fleet.len() as u128, last);
    }
    let (mut seen, mut leaves) = (Vec::new(), 0);
    bench.app.fleet.for_each(|entry| {
        seen.push(entry.node.id);
        leaves += entry.node.certificate.both().filter(|it| it.leaf.is_some()).count();
    });
    assert_eq!((seen, leaves), (bench.app.fleet.ids(), 0), "each once, in order, without its certificate");
}
