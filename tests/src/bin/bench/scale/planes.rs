//! What has the sessions: one control plane with its store in a file, or several on one database.

use std::{net::SocketAddr, time::Duration};

use muster_cluster::Cluster;
use muster_tests::{
    eventually::{LONG, eventually},
    operator::Operator,
    plane::{Options, Plane},
    replicas::{Replicas, about},
};

use crate::sessions::reports_stored;

/// Between heartbeats: what nobody has changed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Of the database: what a commit said is on the disk.
const DURABLE: &str = "fsync = on\nfull_page_writes = on\nshared_buffers = 256MB\nmax_wal_size = 1GB\n";

/// All of it. Dropped: ended.
pub(super) struct Planes {
    all: Vec<Plane>,
    database: Option<Cluster>,
    _folder: tempfile::TempDir,
}

/// What each of them has used, or holds.
#[derive(Debug, Clone)]
pub(super) struct Each<T> {
    pub(super) planes: Vec<T>,
    /// Only where there is one.
    pub(super) database: Option<T>,
}

impl Planes {
    pub(super) async fn start(count: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = (count > 1).then(|| Cluster::start(DURABLE));
        let store_url = database.as_ref().map(Cluster::database);
        let options =
            Options { log: "warn".to_owned(), heartbeat: HEARTBEAT, store_url, ..Options::default() };
        let all = match count {
            1 => vec![Plane::start(folder.path(), &options).await],
            _ => Replicas::start(folder.path(), count, &options).await.planes,
        };
        Ok(Self { all, database, _folder: folder })
    }

    pub(super) fn first(&self) -> &Plane {
        &self.all[0]
    }

    pub(super) async fn operator(&self) -> Operator {
        self.first().operator().await
    }

    /// Where nodes find them.
    pub(super) fn agents(&self) -> Vec<SocketAddr> {
        self.all.iter().map(|plane| plane.addresses().agents).collect()
    }

    /// Processor time so far.
    pub(super) fn cpu(&mut self) -> Each<Duration> {
        Each {
            planes: self.all.iter_mut().map(|plane| plane.process().cpu()).collect(),
            database: self.database.as_ref().map(Cluster::cpu),
        }
    }

    /// Memory of each, in KiB.
    pub(super) fn memory(&mut self) -> Vec<u64> {
        self.all.iter_mut().map(|plane| plane.process().rss_kib()).collect()
    }

    /// Sessions of each, when they know of so many; none where there is only one. What a replica
    /// says of itself is as old as its last beat.
    pub(super) async fn sessions(&self, all: usize) -> Vec<i64> {
        let operator = self.operator().await;
        eventually("the replicas say how many sessions they have", LONG, || async {
            let known = about(&operator).await.replicas;
            let each: Vec<i64> = known.iter().map(|replica| replica.sessions).collect();
            (each.is_empty() || each.iter().sum::<i64>() == i64::try_from(all).unwrap_or(i64::MAX))
                .then_some(each)
        })
        .await
    }

    /// Nodes' reports of items that all of them have stored.
    pub(super) async fn reports_stored(&self) -> anyhow::Result<u64> {
        let mut all = 0;
        for plane in &self.all {
            all += reports_stored(plane.addresses().console).await?;
        }
        Ok(all)
    }
}

impl Each<Duration> {
    /// What was used since then.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            planes: self
                .planes
                .iter()
                .zip(&before.planes)
                .map(|(now, then)| now.saturating_sub(*then))
                .collect(),
            database: self.database.zip(before.database).map(|(now, then)| now.saturating_sub(then)),
        }
    }

    /// Of all control planes together.
    pub(super) fn sum(&self) -> Duration {
        self.planes.iter().sum()
    }
}
