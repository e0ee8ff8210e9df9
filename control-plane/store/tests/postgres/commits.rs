//! A commit of which nobody says what became of it.

use std::time::Duration;

use muster_cluster::Cluster;
use muster_store::{Error, Options, Store};

use crate::{
    made,
    proxy::{Fate, Proxy},
    subjects, write,
};

struct Lab {
    cluster: Cluster,
    direct: Options,
    proxy: Proxy,
    store: Store,
}

/// A store whose server is reached through a proxy.
fn lab() -> Lab {
    let cluster = Cluster::start("listen_addresses = '127.0.0.1'\n");
    let direct = made(&cluster.database());
    let proxy = Proxy::start(cluster.address());
    let name = cluster.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'store%'");
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}?sslmode=disable", proxy.port);
    let mut options: Options = url.parse().unwrap();
    options.failover_within = Duration::from_secs(60);
    let store = Store::open(&options).unwrap();
    Lab { cluster, direct, proxy, store }
}

impl Lab {
    fn subjects(&self) -> Vec<String> {
        subjects(&self.cluster, &self.direct.place.to_string())
    }
}

#[test]
fn a_commit_whose_answer_was_lost_is_recognised_and_one_that_was_lost_is_made_again() {
    let lab = lab();
    assert_eq!(write(&lab.store, "first").unwrap(), 1);
    lab.proxy.set(Fate::Unanswered);
    assert_eq!(write(&lab.store, "second").unwrap(), 2);
    assert!(lab.proxy.is_met());
    assert_eq!(*lab.store.committed().borrow(), 2);
    lab.proxy.set(Fate::Lost);
    assert_eq!(write(&lab.store, "third").unwrap(), 3);
    assert!(lab.proxy.is_met());
    assert_eq!(lab.subjects(), ["first", "second", "third"], "each once");
}

#[test]
fn a_commit_that_nobody_can_ask_about_is_neither_done_nor_undone() {
    let mut lab = lab();
    let mut options = lab.direct.clone();
    lab.store.clone().close_blocking().unwrap();
    let name = lab.direct.place.to_string().rsplit('/').next().unwrap().to_owned();
    options.place = format!("postgres://postgres@127.0.0.1:{}/{name}?sslmode=disable", lab.proxy.port)
        .parse::<Options>()
        .unwrap()
        .place;
    options.failover_within = Duration::from_millis(300);
    lab.store = Store::open(&options).unwrap();
    lab.proxy.set(Fate::Gone);
    let told = write(&lab.store, "first");
    assert!(matches!(told, Err(Error::OutcomeUnknown(_))), "{told:?}");
    let told = write(&lab.store, "second");
    assert!(matches!(told, Err(Error::Unreachable(_))), "nothing of it was sent: {told:?}");
    lab.proxy.set(Fate::Pass);
    assert_eq!(write(&lab.store, "third").unwrap(), 2);
    assert_eq!(lab.subjects(), ["first", "third"]);
}
