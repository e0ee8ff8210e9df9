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

#[cfg(test)]
mod tests {
    use muster_common::tasks::{Kind, Tasks};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn facts_that_are_as_they_were_are_no_news_and_others_are() {
        let facts = watch::Sender::new(Arc::new(host::facts()));
        let (known, mut news) = (facts.clone(), facts.subscribe());
        let (_interval, interval) = watch::channel(INTERVAL);
        let (wanted, drain) = (Arc::<Notify>::default(), Drain::default());
        let reader = FactsReader { facts, wanted: Arc::clone(&wanted), interval };
        let tasks = Tasks::default();
        tasks.spawn("facts", Kind::BestEffort, reader.run(drain.clone()));
        let before = Arc::clone(&news.borrow_and_update());
        // Paused time goes on only when nothing is being read: these are ten readings.
        tokio::time::sleep(INTERVAL * 10 + INTERVAL / 2).await;
        let same = *news.borrow() == before;
        assert_eq!(news.has_changed().unwrap(), !same, "what is told has changed, and only that");
        known.send_replace(Arc::new(Facts { hostname: "another".to_owned(), ..Facts::default() }));
        news.borrow_and_update();
        tokio::time::sleep(INTERVAL).await;
        assert!(news.has_changed().unwrap() && news.borrow_and_update().hostname == before.hostname);
        known.send_replace(Arc::new(Facts::default()));
        news.borrow_and_update();
        wanted.notify_one();
        news.changed().await.unwrap();
        assert_eq!(news.borrow().hostname, before.hostname, "at once when it is asked for");
        drain.begin();
        tasks.close();
        tasks.ended().await;
    }
}
