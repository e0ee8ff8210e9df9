//! What waits for blobs. One item at a time is fetched, and everything else goes on
//! meanwhile: a slow line keeps no other item waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::BoxFuture;

use super::{
    Applier, Failure,
    bundle::{Bundle, Mode, is_item},
    cache::{Blob, Cache},
    fetch::{self, Nowhere, Source},
    records::Records,
    work::Work,
};

/// For what blobs are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Aim {
    /// A version that is to be brought onto the host.
    Work(Work),
    /// A file of what runs that is to be corrected.
    Correction,
}

/// What has become of a download.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) item: String,
    pub(super) aim: Aim,
    pub(super) result: Result<(), Failure>,
}

/// What waits, and what is under way.
pub(super) struct Fetches {
    source: Arc<dyn Source>,
    waiting: BTreeMap<String, Waiting>,
    /// For whom, and the download itself: it goes on where it was whenever somebody waits for it.
    under_way: Option<(String, BoxFuture<'static, Result<(), Failure>>)>,
}

#[derive(Debug)]
struct Waiting {
    aim: Aim,
    blobs: Lacking,
}

/// The blobs of a bundle of which some are not here.
#[derive(Debug, Clone, Default)]
pub(super) struct Lacking {
    /// All of it: while it waits, none of them goes.
    pub(super) all: Vec<Blob>,
    /// Those that are to be fetched.
    pub(super) missing: Vec<Blob>,
}

impl std::fmt::Debug for Fetches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let under_way = self.under_way.as_ref().map(|(item, _)| item);
        f.debug_struct("Fetches").field("waiting", &self.waiting).field("under_way", &under_way).finish()
    }
}

impl Default for Fetches {
    fn default() -> Self {
        Self { source: Arc::new(Nowhere), waiting: BTreeMap::new(), under_way: None }
    }
}

impl Fetches {
    pub(super) fn fetch_from(&mut self, source: Arc<dyn Source>) {
        self.source = source;
    }

    /// Whether blobs are fetched for this work.
    pub(super) fn holds(&self, work: &Work) -> bool {
        self.work(work.item()).is_some_and(|waiting| waiting.aim() == work.aim())
    }

    /// Whether blobs are fetched for newer work on the same item.
    pub(super) fn holds_newer(&self, work: &Work) -> bool {
        self.work(work.item()).is_some_and(|waiting| waiting.aim().0 > work.aim().0)
    }

    fn work(&self, item: &str) -> Option<&Work> {
        match &self.waiting.get(item)?.aim {
            Aim::Work(work) => Some(work),
            Aim::Correction => None,
        }
    }

    /// An item waits for these.
    pub(super) fn want(&mut self, item: String, aim: Aim, blobs: Lacking) {
        self.forget(&item);
        self.waiting.insert(item, Waiting { aim, blobs });
    }

    /// What an item waited for is not wanted any more.
    pub(super) fn forget(&mut self, item: &str) {
        self.waiting.remove(item);
        self.under_way.take_if(|(under_way, _)| under_way == item);
    }

    pub(super) fn is_waited_for(&self, item: &str) -> bool {
        self.waiting.contains_key(item)
    }

    /// Fetches, until one item has all it waits for or cannot have it. May be dropped at
    /// any time: the next call goes on.
    pub(super) async fn next(&mut self, applier: &Applier) -> Fetched {
        let (item, download) = match &mut self.under_way {
            Some(under_way) => under_way,
            none => {
                let Some((item, waiting)) = self.waiting.first_key_value() else {
                    return std::future::pending().await;
                };
                let download = applier.download(Arc::clone(&self.source), waiting.blobs.clone());
                none.insert((item.clone(), Box::pin(download)))
            }
        };
        let result = download.await;
        let item = std::mem::take(item);
        self.under_way = None;
        let aim = self.waiting.remove(&item).map_or(Aim::Correction, |waiting| waiting.aim);
        Fetched { item, aim, result }
    }
}

impl Applier {
    pub(super) fn cache(&self) -> Cache {
        Cache::at(&self.base.folder)
    }

    /// The blobs of a bundle, and those of them that are not here.
    pub(super) async fn lacking(&self, bundle: &Bundle) -> Lacking {
        let (cache, all) = (self.cache(), bundle.blobs().collect::<Vec<_>>());
        if all.is_empty() {
            return Lacking::default();
        }
        let look = move || Lacking { missing: cache.missing(all.iter().copied()), all };
        self.base.blocking(look).await
    }

    /// The blobs that work waits for. None, too, where it would be refused without them.
    pub(super) async fn wants(&self, work: &Work) -> Lacking {
        let Work::Apply(offer) = work else { return Lacking::default() };
        let held = self.record(&offer.item).map(|record| record.state);
        let is_held = held.is_some_and(|held| self.already(&held, &offer.version).is_some());
        if is_held || !is_item(&offer.item) {
            return Lacking::default();
        }
        let bundle = super::failure::check_payload(&offer.payload, offer.version.sha256)
            .and_then(|()| Bundle::decode(&offer.payload))
            .and_then(|bundle| self.check_owners(&bundle, &offer.item).map(|()| bundle));
        let Some(bundle) = bundle.ok().filter(|bundle| bundle.mode != Mode::Audit) else {
            return Lacking::default();
        };
        match self.judge(bundle).await {
            Ok(bundle) => self.lacking(&bundle).await,
            Err(_) => Lacking::default(), // said when it is applied
        }
    }

    /// A download of some blobs, in room that is made for them.
    fn download(
        &self,
        source: Arc<dyn Source>,
        Lacking { all, missing }: Lacking,
    ) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let (base, records) = (self.base.clone(), Arc::clone(&self.records));
        async move {
            let (coming, cache, now) = (missing.clone(), Cache::at(&base.folder), base.clock.now());
            let make_room = move || {
                let records = records.lock();
                let needed = needed(&records, now);
                cache.make_room(&coming, &all.iter().map(|blob| blob.sha256).collect(), &needed)
            };
            base.blocking(make_room).await.map_err(|error| Failure::host(&error))?;
            fetch::fetch(base, source, missing).await
        }
    }

    /// Writes down what an item waits for.
    pub(super) async fn wish(&self, item: &str, blobs: &[Blob]) {
        let (item, blobs, now) = (item.to_owned(), blobs.to_vec(), self.base.clock.now());
        self.with(move |records| {
            if let Err(error) = records.wishes.put(&item, &blobs, now) {
                tracing::warn!(item, %error, "could not write down which blobs {item} waits for");
            }
        })
        .await;
    }

    /// An item waits for nothing any more; what nothing needs goes.
    pub(super) async fn tidy(&self, item: &str) {
        let (item, cache, now) = (item.to_owned(), self.cache(), self.base.clock.now());
        self.with(move |records| {
            let forgotten = records.wishes.forget(&item);
            let swept = if cache.is_empty() { Ok(()) } else { cache.sweep(&needed(records, now)) };
            if let Err(error) = forgotten.and(swept) {
                tracing::warn!(%error, "blobs that nothing needs could not be taken away");
            }
        })
        .await;
    }
}

/// The blobs of all that runs, and of all that waits for some.
fn needed(
    records: &Records,
    now: muster_common::clock::UnixMillis,
) -> BTreeSet<muster_common::digest::Sha256> {
    let running = records.all().filter_map(|record| records.payload(record));
    let blobs = running.flat_map(|bundle| bundle.blobs().map(|blob| blob.sha256).collect::<Vec<_>>());
    blobs.chain(records.wishes.all(now)).collect()
}
