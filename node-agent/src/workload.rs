//! Identities for the programs of this host, as the SPIFFE Workload API has them.
//!
//! The lock file says which program is who, the kernel says which program asks, the control
//! plane signs. Keys are made here and stay in memory; a certificate is renewed at about
//! half of its life for as long as somebody listens. While the control plane is away, what
//! is still valid is served. Once it refuses this node, nothing is. One call at a time goes to
//! the control plane, and one user has fewer tokens made than the node may have.
//!
//! Never: an identity for a caller that no rule of the lock file names.

pub mod api;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod jwt;
mod keeper;
mod rate;
mod remote;
mod svid;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use muster_common::{
    clock::{Clock, Instant},
    reason::Reason,
    tasks,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::locks;
use rate::Rate;
pub use remote::Remote;
use svid::{Bundles, Svid};
use tokens::Tokens;

/// How long a name is kept fresh after it was asked for the last time.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Longest wait of a caller for the control plane.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its user.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// The unit of systemd in which it runs, if it does.
    pub unit: Option<Arc<str>>,
}

/// Identities of this host's programs. Cheap to clone.
#[derive(Clone)]
pub struct Workloads(Arc<Shared>);

struct Shared {
    locks: locks::Reader,
    clock: Clock,
    view: watch::Sender<Arc<View>>,
    wanted: Mutex<BTreeMap<Want, Wanted>>,
    wake: Notify,
    tokens: Mutex<Tokens>,
    /// Tokens that still hold, and are to be replaced.
    old: Mutex<BTreeSet<tokens::Key>>,
    rate: Mutex<Rate>,
    remote: Mutex<Option<Remote>>,
}

/// What is there now.
#[derive(Debug, Clone, Default)]
struct View {
    svids: BTreeMap<String, Arc<Svid>>,
    bundles: Option<Arc<Bundles>>,
    /// Why there is not more.
    trouble: Option<Trouble>,
    /// How often the control plane was asked, whatever it said.
    turns: u64,
}

/// Why the control plane gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    /// It said no to this node; not that it cannot be asked.
    is_refusal: bool,
    reason: Reason,
    message: String,
}

/// What callers want.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    Bundles,
    X509(String),
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    listeners: usize,
    asked: Instant,
}

/// Keeps something wanted until it is dropped.
struct Listening {
    shared: Arc<Shared>,
    wants: Vec<Want>,
}

impl Workloads {
    /// With the rules of this lock file.
    #[must_use]
    pub fn new(locks: locks::Reader, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            locks,
            clock,
            view: watch::Sender::new(Arc::new(View {
                trouble: Some(Trouble::no_fleet()),
                ..View::default()
            })),
            wanted: Mutex::default(),
            wake: Notify::new(),
            tokens: Mutex::default(),
            old: Mutex::default(),
            rate: Mutex::default(),
            remote: Mutex::new(None),
        }))
    }
}

impl Shared {
    /// Asked on a thread that may wait: users and groups may be in a directory far away.
    async fn names(&self, caller: &Caller) -> Vec<String> {
        let (locks, caller) = (self.locks.clone(), caller.clone());
        let names = move || locks.current().workloads(caller.uid, caller.gid, caller.unit.as_deref());
        tasks::blocking(names).await
    }

    fn listen(self: &Arc<Self>, wants: Vec<Want>) -> Listening {
        let asked = self.clock.monotonic();
        let mut wanted = self.wanted.lock();
        for want in &wants {
            let entry = wanted.entry(want.clone()).or_insert(Wanted { listeners: 0, asked });
            entry.listeners += 1;
            entry.asked = asked;
        }
        drop(wanted);
        self.wake.notify_one();
        Listening { shared: Arc::clone(self), wants }
    }

    /// What somebody wants now; what nobody does any more is forgotten.
    fn wants(&self, now: Instant) -> Vec<Want> {
        let mut wanted = self.wanted.lock();
        wanted.retain(|_, one| one.listeners > 0 || now.saturating_duration_since(one.asked) < REMEMBERED);
        let mut wants: BTreeSet<Want> = wanted.keys().cloned().collect();
        if self.tokens.lock().holds_any(self.clock.now()) {
            wants.insert(Want::Bundles); // whose key is trusted no more is seen by these
        }
        wants.into_iter().collect()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut wanted = self.shared.wanted.lock();
        for want in &self.wants {
            if let Some(one) = wanted.get_mut(want) {
                one.listeners = one.listeners.saturating_sub(1);
            }
        }
    }
}

impl Trouble {
    fn no_fleet() -> Self {
        let message = "this host is connected to no control plane".to_owned();
        Self { is_refusal: true, reason: Reason::WorkloadUnavailable, message }
    }
}
