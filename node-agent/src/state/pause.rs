//! A pause: the word of the host's administrator that changes and commands rest.

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Why and for how long changes rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pause {
    /// For people.
    pub reason: String,
    /// Since when, by the host's clock.
    pub since: UnixMillis,
    /// Until then, by the host's clock. `None`: until somebody ends it.
    pub until: Option<UnixMillis>,
    /// Who asked for it.
    pub uid: u32,
}

impl Pause {
    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// The pause of now, for those who rest and for those who tell of it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pauses(watch::Sender<Option<Pause>>);

impl Pauses {
    /// The pause of now.
    #[must_use]
    pub fn now(&self) -> Option<Pause> {
        self.0.borrow().clone()
    }

    /// Whether changes rest.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// From now on this counts.
    pub fn set(&self, pause: Option<Pause>) {
        self.0.send_if_modified(|now| {
            let is_news = *now != pause;
            *now = pause;
            is_news
        });
    }

    /// The pause of now and whenever it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Pause>> {
        self.0.subscribe()
    }

    /// Waits until a pause holds. May be dropped at any time.
    pub async fn begun(&self) {
        if self.0.subscribe().wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await; // this very value holds the sender
        }
    }

    /// Waits until no pause holds. May be dropped at any time.
    pub async fn over(&self) {
        if self.0.subscribe().wait_for(Option::is_none).await.is_err() {
            std::future::pending::<()>().await; // this very value holds the sender
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_at_its_end_and_one_without_an_end_never() {
        let mut pause = Pause { reason: String::new(), since: UnixMillis(1), until: None, uid: 0 };
        assert!(!pause.is_over(UnixMillis(i64::MAX)));
        pause.until = Some(UnixMillis(5));
        assert!(!pause.is_over(UnixMillis(4)) && pause.is_over(UnixMillis(5)));
    }
}
