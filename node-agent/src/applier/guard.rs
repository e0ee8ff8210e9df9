//! When the files of bundles are looked at: soon after the kernel says that one may
//! have changed, and all of them from time to time, because it does not say all.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use muster_common::{clock::Instant, settings};
use tokio::sync::watch;

mod notify;

use notify::{Notify, Touched};

use super::Applier;

/// From a sign to the look: what is being written is often not whole yet.
const SETTLE: Duration = Duration::from_millis(250);

/// The guard of all bundles of a host.
#[derive(Debug)]
pub(super) struct Guard {
    /// `None`: the kernel says nothing; only the sweep looks.
    notify: Option<Arc<Notify>>,
    interval: watch::Receiver<Duration>,
    swept: Option<Instant>,
    /// Items that are to be looked at, and when.
    due: BTreeMap<String, Instant>,
}

impl Guard {
    /// One that looks at everything as often as by default.
    pub(super) fn new() -> Self {
        let notify = Notify::new().map(Arc::new);
        if let Err(error) = &notify {
            tracing::warn!(%error, "changes of files are noticed from time to time only: {error}");
        }
        let default = settings::find("drift-interval").map(|setting| setting.default);
        let interval = default.and_then(settings::parse_duration).unwrap_or(Duration::from_secs(3600));
        Self { notify: notify.ok(), interval: watch::channel(interval).1, swept: None, due: BTreeMap::new() }
    }

    /// Between looks at everything.
    pub(super) fn sweep_every(&mut self, interval: watch::Receiver<Duration>) {
        self.interval = interval;
    }

    /// What is to be looked at now; it counts as looked at.
    pub(super) fn take(&mut self, now: Instant, running: impl FnOnce() -> Vec<String>) -> Vec<String> {
        let interval = *self.interval.borrow();
        if self.swept.is_none_or(|swept| now >= swept + interval) {
            self.swept = Some(now);
            self.due.clear();
            return running();
        }
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|(_, due)| *due <= now);
        self.due = later;
        BTreeMap::<String, Instant>::into_keys(due).collect()
    }

    /// These are to be looked at then, if not sooner.
    pub(super) fn again(&mut self, items: BTreeMap<String, Instant>) {
        for (item, due) in items {
            let known = self.due.entry(item).or_insert(due);
            *known = due.min(*known);
        }
    }

    /// Waits until something is to be looked at, or may be. May be dropped at any time.
    pub(super) async fn wait(&mut self, now: Instant) {
        let sweep = self.swept.map_or(now, |swept| swept + *self.interval.borrow());
        let next = self.due.values().min().map_or(sweep, |due| sweep.min(*due));
        let notify = self.notify.clone();
        tokio::select! {
            biased;
            touched = touched(notify.as_deref()) => self.touched(touched, now),
            () = tokio::time::sleep_until(next) => {}
            Ok(()) = self.interval.changed() => {}
        }
    }

    fn touched(&mut self, touched: Touched, now: Instant) {
        match touched {
            Touched::Some(items) => {
                self.again(items.into_iter().map(|item| (item, now + SETTLE)).collect());
            }
            Touched::Lost => self.swept = None,
        }
    }

    /// What the kernel is asked to watch from now on.
    pub(super) async fn follow(&self, applier: &Applier) {
        let Some(notify) = self.notify.clone() else { return };
        let paths = applier.guarded_paths().await;
        applier.base.blocking(move || notify.follow(&paths)).await;
    }
}

async fn touched(notify: Option<&Notify>) -> Touched {
    match notify {
        Some(notify) => notify.touched().await,
        None => std::future::pending().await,
    }
}

impl Applier {
    /// Every path of a bundle that runs, and whose it is.
    async fn guarded_paths(&self) -> BTreeMap<PathBuf, BTreeSet<String>> {
        let items = self.running_bundles();
        let read = move |records: &mut super::Records| {
            let mut paths = BTreeMap::<PathBuf, BTreeSet<String>>::new();
            for record in items.iter().filter_map(|item| records.get(item)) {
                let bundle = records.payload(record);
                for path in bundle.iter().flat_map(|bundle| bundle.paths()) {
                    paths.entry(path.to_owned()).or_default().insert(record.state.item.clone());
                }
            }
            paths
        };
        self.with(read).await
    }
}
