//! How the host is: its facts, read again from time to time and told only when
//! they changed; its load; its conditions.

mod conditions;

use std::{sync::Arc, time::Duration};

use muster_common::drain::Drain;
use tokio::sync::{Notify, watch};

pub use conditions::Conditions;

use crate::{platform::host, state::Facts};

/// The task that reads the facts.
#[derive(Debug)]
pub struct FactsReader {
    /// Where the newest facts are put.
    pub facts: watch::Sender<Arc<Facts>>,
    /// Asks for a reading now.
    pub wanted: Arc<Notify>,
    /// How often they are read anyway.
    pub interval: watch::Receiver<Duration>,
}

impl FactsReader {
    /// Reads until the process ends.
    pub async fn run(mut self, drain: Drain) {
        loop {
            let interval = *self.interval.borrow_and_update();
            tokio::select! {
                biased;
                () = drain.begun() => return,
                () = self.wanted.notified() => {}
                changed = self.interval.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue; // the wait starts anew
                }
                () = tokio::time::sleep(interval) => {}
            }
            // Reading /proc may wait for a hung disk; others must not wait with it.
            let Ok(facts) = tokio::task::spawn_blocking(host::facts).await else { continue };
            self.facts.send_if_modified(|known| {
                let news = **known != facts;
                if news {
                    tracing::info!("the facts of this host changed");
                    *known = Arc::new(facts);
                }
                news
            });
        }
    }
}
