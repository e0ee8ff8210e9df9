//! All alerts at one look: for those who show them to many.

use muster_domain::alert::{Alert, Silence};
use muster_store::ReadAlerts as _;

use crate::app::{App, Error};

/// Alerts that have ended of which a board knows.
const ENDED: u64 = 200;

/// Of which moment a board is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64, u64);

/// Alerts of the whole fleet. What of it a caller is shown, [`App::shows_alert`] says.
#[derive(Debug, Default)]
pub struct Board {
    /// Those that have not ended, the oldest first.
    pub open: Vec<Alert>,
    /// The last that have, the last one first.
    pub ended: Vec<Alert>,
    /// Silences that hold or will, and those that ended lately.
    pub silences: Vec<Silence>,
    /// `None`: nothing was read.
    pub mark: Option<Mark>,
}

impl App {
    /// How it stands with alerts. `None`: as at this mark.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn alert_board(&self, known: Option<Mark>) -> Result<Option<Board>, Error> {
        let read = self.store.read_own(move |tx| {
            let (count, revision) = tx.alert_mark()?;
            let mark = Some(Mark(count, revision));
            if mark == known {
                return Ok::<_, Error>(None);
            }
            let (open, ended) = (tx.alert_open_all()?, tx.alert_ended_last(ENDED)?);
            Ok(Some(Board { open, ended, silences: tx.silence_all()?, mark }))
        });
        read.await
    }
}
