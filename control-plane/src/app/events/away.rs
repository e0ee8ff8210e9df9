//! The store could not be read for a while: told when it can be again.

use muster_common::clock::UnixMillis;
use muster_domain::event::{Happened, Kind};

use super::{Events, tell};
use crate::app::{App, Error};

/// From when, and to when.
#[derive(Debug, Default)]
pub(super) struct Away {
    since: Option<UnixMillis>,
    over: Option<(UnixMillis, UnixMillis)>,
}

impl Events {
    /// The store cannot be read now.
    pub(in crate::app) fn database_is_away(&self, now: UnixMillis) {
        self.away.lock().since.get_or_insert(now);
    }

    /// It can again.
    pub(in crate::app) fn database_is_back(&self, now: UnixMillis) {
        let mut away = self.away.lock();
        let since = away.since.take().unwrap_or(now);
        away.over = Some((since, now));
    }
}

impl App {
    /// Tells that the store is back, if it was away.
    ///
    /// # Errors
    /// If it is away again; it is told later then.
    pub async fn tell_database_back(&self) -> Result<(), Error> {
        let Some((since, until)) = self.events.away.lock().over.take() else { return Ok(()) };
        let (replica, seconds) = (&self.fixed.replica, until.since(since).as_secs());
        let message = format!("replica {replica} reads the store again, which it could not for {seconds} s");
        let what = Happened::new(Kind::DatabaseBack, &message)
            .about(format!("replica/{replica}"))
            .at(until)
            .with("away_since", since)
            .with("away_seconds", seconds);
        let write = self.store.write(self.own_stamp("store.back"), move |tx| tell(tx, what.clone()));
        if let Err(error) = write.await {
            self.events.away.lock().over.get_or_insert((since, until));
            return Err(error);
        }
        Ok(())
    }
}
