//! Files of the signed repository: fetched from a mirror or from the control plane, judged,
//! and brought into the host's store.
//!
//! Promises:
//! - Nothing that comes is used, or kept as anything but a part, before the store has
//!   admitted it: see `admission`. In a split agent that is the executor's.
//! - A download that broke goes on where it ended, with another source if need be, and in
//!   the next process, too.
//! - Who is slow, endless, or sends elsewhere, is given up in bounded time and with bounded
//!   bytes. Whose fault a failure is, is told apart: a version is never blamed for the
//!   network or the control plane.

mod control_plane;
mod download;
mod error;
mod fault;
mod incoming;
mod metadata;
mod mirror;
mod pace;
mod roots;
mod store;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use control_plane::ControlPlane;
pub use error::Error;
use muster_common::{
    backoff::Backoff,
    clock::Clock,
    settings::MirrorUrl,
    tasks,
    tuf::{MOST_FILE, check_name},
};
pub use pace::Limits;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

pub use crate::admission::{Admitted, Wanted};
use crate::{
    admission::{self, Quota},
    dial::Dialer,
    state::Cause,
};
use download::Download;
use fault::Source;
use mirror::Mirror;
use roots::Roots;
use store::Store;

/// Metadata of more bytes in all is not kept in memory from one file to the next.
const KEPT: usize = 1024 * 1024;
/// Tries of one call, where the network is at fault.
const TRIES: u32 = 3;
/// Waits between them.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What is told of a download: bytes of the file that have come.
pub type Told = Arc<dyn Fn(u64) + Send + Sync>;

/// What it works with.
#[derive(Debug)]
pub struct Options {
    /// Where files are on their way. Nothing in it is trusted.
    pub folder: PathBuf,
    /// The pinned root metadata.
    pub root: PathBuf,
    /// Where files are admitted.
    pub store: Place,
    /// Most bytes of all files there, as this half knows it: what is larger is not fetched.
    pub quota: Quota,
    /// The mirror of now.
    pub mirror: watch::Receiver<Option<MirrorUrl>>,
    /// The way to it.
    pub dialer: Dialer,
    /// Asked after the mirror. `None`: nobody is.
    pub control_plane: Option<ControlPlane>,
    /// How slow a source may be.
    pub limits: Limits,
    /// By which metadata is judged.
    pub clock: Clock,
}

/// Whose store it is.
#[derive(Debug, Clone)]
pub enum Place {
    /// This process's.
    Here(admission::Store),
    /// The executor's.
    There(crate::verbs::Client),
}

/// Obtains files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    store: Store,
    roots: Roots,
    /// What was believed last: of a repository that has not changed only the timestamp is asked for.
    known: Mutex<admission::Metadata>,
    /// One file at a time is on its way.
    one: Semaphore,
}

impl Artifacts {
    /// With these.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let store = Store(options.store.clone());
        let roots = Roots::new(options.clock.clone());
        Self(Arc::new(Inner { options, store, roots, known: Mutex::default(), one: Semaphore::new(1) }))
    }

    /// The store, where it is this process's.
    #[must_use]
    pub fn store_here(&self) -> Option<admission::Store> {
        match &self.0.options.store {
            Place::Here(store) => Some(store.clone()),
            Place::There(_) => None,
        }
    }

    /// Brings a file into the store, if it is signed as it is wanted. What is there already
    /// stays, and nobody is asked.
    ///
    /// # Errors
    /// By whose fault: of the content only if a repository that is believed does not sign
    /// the file so. All others are worth another try, later.
    pub async fn obtain(&self, wanted: &Wanted, told: Told) -> Result<Admitted, Error> {
        check_name(&wanted.target).map_err(|error| Error::refused(&error))?;
        if wanted.size > MOST_FILE {
            return Err(Error::too_large(wanted));
        }
        // It is never closed.
        let _one = self.0.one.acquire().await;
        if let Some(admitted) = self.0.store.admitted(wanted).await? {
            self.0.forget(wanted).await;
            return Ok(admitted);
        }
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        loop {
            match self.0.bring(wanted, &told).await {
                Err(error) if error.cause == Cause::Network && backoff.tries() + 1 < TRIES => {
                    tracing::warn!("{} did not come, and is asked for again: {error}", wanted.target);
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                Ok(admitted) => {
                    self.0.forget(wanted).await;
                    return Ok(admitted);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Inner {
    async fn bring(&self, wanted: &Wanted, told: &Told) -> Result<Admitted, Error> {
        let sources = self.sources();
        let path = self.find(&sources, wanted).await?;
        let (size, quota) = (wanted.size, self.options.quota.now());
        if size > quota {
            return Err(admission::Error::Full { size, quota }.into());
        }
        let download = Download { options: &self.options, store: &self.store, wanted, told };
        download.from(&sources, &path).await
    }

    /// It is in the store: what had come of it is of no use.
    async fn forget(&self, wanted: &Wanted) {
        let (folder, part) = (self.options.folder.clone(), wanted.clone());
        if let Err(error) = tasks::blocking(move || incoming::forget(&folder, &part)).await {
            tracing::warn!(%error, "{} stays among the files on their way: {error}", wanted.target);
        }
    }

    fn sources(&self) -> Vec<Source> {
        let mirror = self.options.mirror.borrow().clone();
        let mirror = mirror
            .map(|url| Source::Mirror(Mirror::new(url, self.options.dialer.clone(), self.roots.clone())));
        mirror.into_iter().chain(self.options.control_plane.clone().map(Source::ControlPlane)).collect()
    }

    /// Where the file is in the repository, by the first source whose metadata is believed
    /// and names it. What the last one says counts.
    async fn find(&self, sources: &[Source], wanted: &Wanted) -> Result<String, Error> {
        let mut failed = Error::nobody();
        for source in sources {
            match self.believe(source, wanted).await {
                Ok(path) => return Ok(path),
                Err(error) => failed = failed.then(source, &error),
            }
        }
        Err(failed)
    }

    /// What a source says, and where the file is by it.
    async fn believe(&self, source: &Source, wanted: &Wanted) -> Result<String, Error> {
        let known = std::mem::take(&mut *self.known.lock());
        let collected = match metadata::collect(&self.options, source, wanted, &known).await {
            // The repository may have been made anew, with other files by the same names.
            Err(error) if !known.is_empty() && error.cause != Cause::Network => {
                metadata::collect(&self.options, source, wanted, &admission::Metadata::new()).await
            }
            collected => collected,
        };
        let (metadata, path) = collected?;
        self.store.believe(metadata.clone()).await?;
        if metadata.values().map(Vec::len).sum::<usize>() <= KEPT {
            *self.known.lock() = metadata;
        }
        Ok(path)
    }
}
