//! Prints how fast the store writes and reads here. Figures to look at, not a
//! test: run it with `--release`, with the folder to write to as its argument, or
//! the URL of an empty database of PostgreSQL.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{path::PathBuf, time::Duration};

use muster_common::{
    clock::{Clock, UnixMillis},
    digest::Sha256,
    generation::Generation,
    ids::{EventId, JoinTokenId, NodeId},
};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, Leaf, NodeCertificate},
    event::{Happened, Kind},
    facts::Facts,
    item::{ItemName, ItemState, ItemVersion, Outcome},
    liveness::{Liveness, State},
    node::Node,
};
use muster_store::{
    Error, Options, ReadNodes as _, Store, WriteEvents as _, WriteItemMarks as _, WriteNodes as _, WriteTx,
};

const NODES: u128 = 10_000;
const CHUNK: u128 = 500;
const WRITERS: usize = 64;
const WRITES: usize = 200;
const AT: UnixMillis = UnixMillis(1_700_000_000_000);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let place = std::env::args().nth(1);
    let url = place.as_deref().filter(|place| place.starts_with("postgres"));
    let folder = place.as_deref().filter(|_| url.is_none()).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("a folder to write to");
    let options = match url {
        Some(url) => url.parse().expect("the URL of a store"),
        None => Options::sqlite(folder.path().join("store.db")),
    };
    let store = Store::create(&options, "example.test")?;
    let rate = |what: &str, rows: f64, took: Duration| {
        println!("{what:<44} {:>9.1} ms  {:>9.0} /s", took.as_secs_f64() * 1e3, rows / took.as_secs_f64());
    };
    rate("enroll, 500 nodes a write", NODES as f64, chunks(&store, |tx, n| tx.node_insert(&node(n))).await?);
    rate(
        "items, 1 of each node, 500 nodes a write",
        NODES as f64,
        chunks(&store, |tx, n| items(tx, n, 1)).await?,
    );
    rate("items again", NODES as f64, chunks(&store, |tx, n| items(tx, n, 2)).await?);
    rate("liveness, 500 nodes a write", NODES as f64, chunks(&store, liveness).await?);
    rate("events, 1 of each node, 500 a write", NODES as f64, chunks(&store, event).await?);
    rate("small writes, 64 at once, each answered", (WRITERS * WRITES) as f64, small(&store, WRITERS).await?);
    // What the revision row costs: two replicas wait for each other at it.
    let other = Store::open(&options.clone().with_replica("other"))?;
    let (one, two) = tokio::join!(small(&store, WRITERS / 2), small(&other, WRITERS / 2));
    rate("the same by two replicas, 32 at once each", (WRITERS * WRITES) as f64, one?.max(two?));
    rate("small writes, one after the other", WRITES as f64, small(&store, 1).await?);
    let start = Clock::System.monotonic();
    let count = store.read(|tx| tx.node_all()).await.map(|nodes: Vec<Node>| nodes.len())?;
    rate("read all nodes with their items", count as f64, start.elapsed());
    let start = Clock::System.monotonic();
    for number in 0..1000 {
        store.read(move |tx| tx.node_get(NodeId::from_u128(number))).await.map(|_: Option<Node>| ())?;
    }
    rate("read one node, one after the other", 1000.0, start.elapsed());
    store.close().await
}

/// Does it to every node, in writes of `CHUNK` that are handed in all at once.
async fn chunks(
    store: &Store,
    work: fn(&mut WriteTx<'_>, u128) -> Result<(), Error>,
) -> Result<Duration, Error> {
    let start = Clock::System.monotonic();
    let writes = (0..NODES / CHUNK).map(|chunk| {
        store.write(stamp(), move |tx| {
            (chunk * CHUNK..(chunk + 1) * CHUNK).try_for_each(|number| work(tx, number))?;
            tx.audit(Note::default())
        })
    });
    for done in all(writes).await {
        done?;
    }
    Ok(start.elapsed())
}

/// Writes of one row each, `writers` at a time.
async fn small(store: &Store, writers: usize) -> Result<Duration, Error> {
    let start = Clock::System.monotonic();
    let one = |writer: usize| async move {
        for _ in 0..WRITES {
            let item = ItemName::Bundle(format!("b-{writer}"));
            store.write::<_, Error, _>(stamp(), move |tx| tx.item_mark(&item)).await?;
        }
        Ok::<_, Error>(())
    };
    for done in all((0..writers).map(one)).await {
        done?;
    }
    Ok(start.elapsed())
}

/// Drives all of them at once.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(done) = future.as_mut().poll(cx) {
                *output = Some(done);
            }
        }
        if waiting.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

fn items(tx: &mut WriteTx<'_>, number: u128, generation: u64) -> Result<(), Error> {
    let version = ItemVersion {
        generation: Generation::new(1, generation),
        version: generation.to_string(),
        sha256: Sha256::of(b"payload"),
    };
    let state = ItemState {
        item: ItemName::Bundle("motd".to_owned()),
        running: Some(version.clone()),
        attempted: Some(version),
        outcome: Some(Outcome::Applied),
        error: None,
        changed_at: AT,
        drift: Vec::new(),
        progress: None,
        health: None,
    };
    tx.node_set_items(NodeId::from_u128(number), &[state], &[]).map(drop)
}

fn liveness(tx: &mut WriteTx<'_>, number: u128) -> Result<(), Error> {
    let liveness = Liveness { state: State::Online, since: AT, reason: "Heard".into() };
    tx.node_set_liveness(NodeId::from_u128(number), &liveness).map(drop)
}

fn event(tx: &mut WriteTx<'_>, number: u128) -> Result<(), Error> {
    let what = Happened::new(Kind::ItemApplied, &format!("bundle/motd 1 was applied on node-{number}"))
        .to(NodeId::from_u128(number))
        .about("bundle/motd")
        .with("version", 1);
    tx.event_put(&what.event(EventId::generate(), &stamp()))
}

fn stamp() -> Stamp {
    Stamp {
        actor: "control-plane/main".to_owned(),
        action: "bench".to_owned(),
        at: AT,
        remote_address: String::new(),
        trace_id: String::new(),
    }
}

fn node(number: u128) -> Node {
    let issued = Issued {
        serial: format!("{number:x}").into(),
        generation: 1,
        issuer: 1,
        not_before: AT,
        not_after: AT,
        leaf: Some(Box::new(Leaf { key_sha256: vec![1; 32], der: vec![2; 700] })),
    };
    Node {
        id: NodeId::from_u128(number),
        display_name: format!("node-{number}"),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        facts: Facts { hostname: format!("node-{number}"), os: "debian".to_owned(), ..Facts::default() }
            .into(),
        facts_sha256: [3; 32][..].into(),
        liveness: Liveness { state: State::NeverSeen, since: AT, reason: "Enrolled".into() },
        items: Vec::new(),
        certificate: NodeCertificate { current: issued, next: None },
        enrolled_key_sha256: Some(Box::new(Sha256::of(&number.to_be_bytes()).as_bytes()[..].into())),
        machine_fingerprint: [4; 32][..].into(),
        enrolled_with: JoinTokenId::from_u128(1).into(),
        created_at: AT,
        ledger: None,
        trust_bundle_version: 0,
        recoveries: 0,
        touches: Vec::new(),
        accepted: None,
        own_since: UnixMillis(0),
        quarantine: None,
        kept: None,
        selector_revision: 0,
        revision: 0,
    }
}
