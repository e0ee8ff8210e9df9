//! One file, from its part to the store.

use std::{io, sync::Arc};

use muster_common::{clock::Instant, crash, tasks, tuf};
use parking_lot::Mutex;

use super::{
    Admitted, Error, Options, Told, Wanted,
    fault::{Fault, Source},
    incoming::{Incoming, TooMuch},
    pace::Paced,
    store::Store,
};
use crate::state::Cause;

/// A file that is to come.
pub(super) struct Download<'a> {
    pub(super) options: &'a Options,
    pub(super) store: &'a Store,
    pub(super) wanted: &'a Wanted,
    pub(super) told: &'a Told,
}

/// Where it is asked for.
struct Way<'a> {
    source: &'a Source,
    path: &'a str,
    /// When another source is asked. `None`: there is none.
    until: Option<Instant>,
}

/// Shared with the threads that write it.
type Coming = Arc<Mutex<Incoming>>;

impl Download<'_> {
    /// From these sources, one after the other, each from where the one before ended.
    pub(super) async fn from(&self, sources: &[Source], path: &str) -> Result<Admitted, Error> {
        let (folder, wanted) = (self.options.folder.clone(), self.wanted.clone());
        let now = self.options.clock.now();
        let incoming = tasks::blocking(move || Incoming::open(&folder, &wanted, now)).await;
        let incoming = Arc::new(Mutex::new(incoming.map_err(|error| Error::of_host(&error))?));
        let mut failed = Error::nobody();
        for (number, source) in sources.iter().enumerate() {
            let longest = self.options.limits.longest(self.wanted.size);
            let has_next = number + 1 < sources.len();
            let until = has_next.then(|| self.options.clock.monotonic() + longest);
            match self.whole(&incoming, &Way { source, path, until }).await {
                Ok(()) => return self.admit(&incoming).await,
                // Another source would find the same disk.
                Err(error) if error.cause == Cause::Host => return Err(error),
                Err(error) => failed = failed.then(source, &error),
            }
        }
        Err(failed)
    }

    /// Until all is there and is what it must be. What came in part from elsewhere, or from
    /// before, may be wrong without any fault of this source: then it begins anew, once.
    async fn whole(&self, incoming: &Coming, way: &Way<'_>) -> Result<(), Error> {
        let resumed = incoming.lock().received() > 0;
        match self.rest(incoming, way).await {
            Err(error) if resumed && incoming.lock().received() == 0 => {
                tracing::warn!("{} is fetched anew: {error}", self.wanted.target);
                self.rest(incoming, way).await
            }
            came => came,
        }
    }

    /// What is missing. Nothing that is wrong stays.
    async fn rest(&self, incoming: &Coming, way: &Way<'_>) -> Result<(), Error> {
        if !incoming.lock().is_whole() {
            self.receive(incoming, way).await?;
        }
        let (name, must) = (self.wanted.target.clone(), self.wanted.sha256);
        let sha256 = incoming.lock().digest();
        if sha256 == must {
            return Ok(());
        }
        with(incoming, Incoming::clear).await?;
        Err(Error::refused(&tuf::Error::WrongDigest { name, sha256, must }))
    }

    async fn receive(&self, incoming: &Coming, way: &Way<'_>) -> Result<(), Error> {
        let offset = incoming.lock().received();
        let pieces = way.source.open(way.path, offset).await.map_err(Error::fault)?;
        let now = self.options.clock.monotonic();
        let mut paced = Paced::new(pieces, self.options.limits, now).until(way.until);
        while let Some(piece) = paced.next().await.map_err(Error::fault)? {
            if with(incoming, move |incoming| incoming.write(&piece)).await? == Err(TooMuch) {
                with(incoming, Incoming::clear).await?;
                let (what, most) = (self.wanted.target.clone(), self.wanted.size);
                return Err(Error::refused(&tuf::Error::Endless { what, most }));
            }
            (self.told)(incoming.lock().received());
            crash::point("agent.artifact.piece");
        }
        let (received, must) = (incoming.lock().received(), self.wanted.size);
        if received == must {
            return Ok(());
        }
        Err(Error::fault(Fault::Network(format!("it ended after {received} of {must} bytes"))))
    }

    async fn admit(&self, incoming: &Coming) -> Result<Admitted, Error> {
        let reader = with(incoming, |incoming| incoming.reader()).await?;
        self.store.admit(self.wanted, reader).await
    }
}

/// Does something with the part, on a thread that may wait for the disk.
async fn with<T: Send + 'static>(
    incoming: &Coming,
    work: impl FnOnce(&mut Incoming) -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let incoming = Arc::clone(incoming);
    tasks::blocking(move || work(&mut incoming.lock())).await.map_err(|error| Error::of_host(&error))
}
