//! How the host is: its facts, read again from time to time and told only when
//! they changed; its load, measured once for each heartbeat; its conditions.

mod conditions;

use std::{sync::Arc, time::Duration};

use muster_common::{drain::Drain, tasks};
use tokio::sync::{Notify, watch};

pub use conditions::{Conditions, Seen};

use crate::{
    platform::{host, load::Meter},
    state::{EffectiveSetting, Facts, Measured},
};

/// The task that reads the facts and measures the load. Either may wait for a
/// hung disk: nobody waits with it, the last reading is what others see.
#[derive(Debug)]
pub struct FactsReader {
    /// Where the newest facts are put.
    pub facts: watch::Sender<Arc<Facts>>,
    /// Asks for a reading now.
    pub wanted: Arc<Notify>,
    /// How often they are read anyway.
    pub interval: watch::Receiver<Duration>,
    /// The agent's options in force: the part of them that needs no reading.
    pub settings: watch::Receiver<Vec<EffectiveSetting>>,
    /// Where the newest load is put, with what was measured beside it.
    pub load: watch::Sender<Measured>,
    /// Asks for the next measurement.
    pub beat: Arc<Notify>,
}

impl FactsReader {
    /// Reads until the process ends.
    pub async fn run(mut self, drain: Drain) {
        let mut meter = self.measure(Meter::default()).await;
        let mut interval = tokio::time::interval(*self.interval.borrow_and_update());
        interval.reset(); // they were read at the start
        loop {
            tokio::select! {
                biased;
                () = drain.begun() => return,
                () = self.beat.notified() => meter = self.measure(meter).await,
                () = self.wanted.notified() => self.read().await,
                changed = self.interval.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    interval = tokio::time::interval(*self.interval.borrow_and_update());
                    interval.reset(); // the wait starts anew
                }
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let known = Facts::clone(&self.facts.borrow());
                    self.tell(known);
                }
                _ = interval.tick() => self.read().await,
            }
        }
    }

    async fn measure(&self, mut meter: Meter) -> Meter {
        let (load, meter) = tasks::blocking(move || (meter.sample(), meter)).await;
        self.load.send_replace(load);
        meter
    }

    async fn read(&mut self) {
        let facts = tasks::blocking(host::facts).await;
        self.tell(facts);
    }

    /// Tells facts of the host with the options that are in force now.
    fn tell(&mut self, facts: Facts) {
        let facts = Facts { settings: self.settings.borrow_and_update().clone(), ..facts };
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

#[cfg(test)]
mod tests {
    use muster_common::tasks::{Kind, Tasks};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_load_is_measured_apart_from_those_who_tell_it() {
        let (load, mut told) = watch::channel(Measured::default());
        let (facts, _facts) = watch::channel(Arc::default());
        let (_interval, interval) = watch::channel(Duration::from_secs(600));
        let beat = Arc::<Notify>::default();
        let (_settings, settings) = watch::channel(Vec::new());
        let (wanted, told_beat) = (Arc::default(), Arc::clone(&beat));
        let reader = FactsReader { facts, wanted, interval, settings, load, beat: told_beat };
        let (drain, tasks) = (Drain::default(), Tasks::default());
        tasks.spawn("facts", Kind::BestEffort, reader.run(drain.clone()));
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(20), told.changed()).await.unwrap().unwrap();
            assert!(told.borrow_and_update().load.memory > 0);
            beat.notify_one();
        }
        drain.begin();
        tasks.close();
        tasks.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn another_interval_counts_from_then_on() {
        let (facts, interval) = (watch::Sender::new(Arc::default()), watch::Sender::new(INTERVAL * 60));
        let (mut news, drain) = (facts.subscribe(), Drain::default());
        let (_settings, settings) = watch::channel(Vec::new());
        let reader = FactsReader {
            facts,
            wanted: Arc::default(),
            interval: interval.subscribe(),
            settings,
            load: watch::Sender::default(),
            beat: Arc::default(),
        };
        let tasks = Tasks::default();
        tasks.spawn("facts", Kind::BestEffort, reader.run(drain.clone()));
        tokio::time::sleep(INTERVAL * 2).await;
        assert!(!news.has_changed().unwrap(), "an hour is long");
        interval.send_replace(INTERVAL);
        tokio::time::timeout(INTERVAL * 2, news.changed()).await.expect("a minute is not").unwrap();
        assert!(!news.borrow_and_update().hostname.is_empty());
        drain.begin();
        tasks.close();
        tasks.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn facts_that_are_as_they_were_are_no_news_and_others_are() {
        let facts = watch::Sender::new(Arc::new(host::facts()));
        let (known, mut news) = (facts.clone(), facts.subscribe());
        let (_interval, interval) = watch::channel(INTERVAL);
        let (wanted, drain) = (Arc::<Notify>::default(), Drain::default());
        let options = watch::Sender::new(Vec::new());
        let reader = FactsReader {
            facts,
            wanted: Arc::clone(&wanted),
            interval,
            settings: options.subscribe(),
            load: watch::Sender::default(),
            beat: Arc::default(),
        };
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
        let option = EffectiveSetting {
            key: "log-level".to_owned(),
            value: "debug".to_owned(),
            origin: crate::state::Origin::Lock,
            desired: None,
        };
        options.send_replace(vec![option.clone()]);
        let told = |facts: &Arc<Facts>| facts.settings.len() == 1 && facts.hostname == before.hostname;
        let at_once = tokio::time::timeout(INTERVAL / 2, news.wait_for(told)).await;
        drop(at_once.expect("an option is told when it changes").unwrap());
        tokio::time::sleep(INTERVAL * 2).await;
        assert_eq!(news.borrow().settings, [option], "the next reading keeps it");
        drain.begin();
        tasks.close();
        tasks.ended().await;
    }
}
