//! How much is logged: what the options say, or for a time what somebody on the host said.

use muster_common::{clock::UnixMillis, telemetry::Level};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::local_api::status::Log;

/// Both words, and the newest answer.
pub(in crate::wiring) struct Logging {
    level: Level,
    said: Mutex<Said>,
    log: watch::Sender<Log>,
}

#[derive(Debug)]
struct Said {
    options: String,
    here: Option<(String, Option<UnixMillis>)>,
}

impl Logging {
    pub(super) fn new(level: Level) -> Self {
        let options = "info".to_owned();
        let log = watch::Sender::new(Log { level: options.clone(), until: None, overridden: false });
        Self { level, said: Mutex::new(Said { options, here: None }), log }
    }

    /// Somebody else decides what is logged.
    pub(super) const fn is_fixed(&self) -> bool {
        self.level.is_fixed()
    }

    /// What the options say.
    pub(in crate::wiring) fn options_say(&self, level: &str) {
        self.change(|said| level.clone_into(&mut said.options));
    }

    /// What is said on the host. `None`: what the options say.
    pub(super) fn said_here(&self, level: Option<String>, until: Option<UnixMillis>) -> Log {
        self.change(|said| said.here = level.map(|level| (level, until)));
        self.log.borrow().clone()
    }

    /// What was said for a time is over then.
    pub(super) fn look(&self, now: UnixMillis) {
        if self.log.borrow().until.is_some_and(|until| until <= now) {
            let log = self.said_here(None, None);
            tracing::info!(level = log.level, "the log level is {} again", log.level);
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Log> {
        self.log.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        let mut said = self.said.lock();
        change(&mut said);
        let (level, until) = said.here.clone().unwrap_or_else(|| (said.options.clone(), None));
        if let Err(error) = self.level.set(&level) {
            tracing::warn!(%error, "the log level could not be changed");
        }
        let log = Log { level, until, overridden: said.here.is_some() };
        self.log.send_if_modified(|now| {
            let is_news = *now != log;
            *now = log;
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_here_wins_until_its_end_and_then_the_newest_option_counts() {
        let logging = Logging::new(Level::fixed());
        logging.options_say("warn");
        let log = |level: &str, until, overridden| Log { level: level.to_owned(), until, overridden };
        let until = Some(UnixMillis(10));
        assert_eq!(logging.said_here(Some("trace".to_owned()), until), log("trace", until, true));
        logging.options_say("error");
        logging.look(UnixMillis(9));
        assert_eq!(*logging.watch().borrow(), log("trace", until, true));
        logging.look(UnixMillis(10));
        assert_eq!(*logging.watch().borrow(), log("error", None, false));
    }
}
