//! What only a server can show: its connections, its locks, and its death.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod commits;
mod copy;
mod proxy;
mod schema;
mod server;

use muster_cluster::Cluster;
use muster_common::clock::UnixMillis;
use muster_domain::{
    audit::{Note, Stamp},
    item::ItemName,
};
use muster_store::{Error, Options, Store, WriteItemMarks as _, WriteTx};

fn stamp() -> Stamp {
    Stamp {
        actor: "operator/alice".into(),
        action: "tests.write".into(),
        at: UnixMillis(1_700_000_000_000),
        remote_address: String::new(),
        trace_id: String::new(),
    }
}

fn note(subject: impl Into<String>) -> Note {
    Note { subject: subject.into(), ..Note::default() }
}

/// A write with its audit entry; its revision.
fn write(store: &Store, subject: &str) -> Result<u64, Error> {
    let subject = subject.to_owned();
    let marked = move |tx: &mut WriteTx<'_>| {
        tx.item_mark(&ItemName::Bundle(subject.clone()))?;
        tx.audit(note(subject.clone()))?;
        Ok::<_, Error>(tx.revision())
    };
    store.write_blocking(stamp(), marked).map(|committed| committed.revision)
}

/// Subjects of the audit, in order.
fn subjects(cluster: &Cluster, database: &str) -> Vec<String> {
    let text = cluster.sql(database, "SELECT subject FROM audit ORDER BY place");
    text.lines().map(str::to_owned).collect()
}

/// A new store; its options.
fn made(url: &str) -> Options {
    let options: Options = url.parse().unwrap();
    Store::create(&options, "example.test").unwrap().close_blocking().unwrap();
    options
}
