//! The line to the control plane, between the session that keeps it and whoever has to
//! know that it still holds.

use std::time::Duration;

use tokio::sync::watch;

/// Asks for new sessions, and tells when one is there. An answer counts for an ask only if
/// the way to the control plane was opened after it: an old connection may live on where no
/// new one comes through. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Line {
    asked: watch::Sender<Ask>,
    stands: watch::Sender<Standing>,
    leads_to: watch::Sender<Option<String>>,
}

/// A new session is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ask {
    /// From 1; 0: nobody has asked yet.
    pub number: u64,
    /// No wait between two tries is longer. `None`: nobody waits for the answer any more.
    pub longest_wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// The newest ask that was answered.
    answered: u64,
    /// A session is open.
    open: bool,
}

impl Line {
    /// Asks for a new session, whatever is open or being opened; answers the ask's number.
    pub fn ask(&self, longest_wait: Duration) -> u64 {
        let mut number = 0;
        self.asked.send_modify(|ask| {
            number = ask.number + 1;
            *ask = Ask { number, longest_wait: Some(longest_wait) };
        });
        number
    }

    /// Asks for a new session as `ask` does, in no haste of its own: another way leads to
    /// the control plane.
    pub fn anew(&self) {
        self.asked.send_modify(|ask| ask.number += 1);
    }

    /// Nobody waits for the answer any more.
    pub fn rest(&self) {
        self.asked.send_modify(|ask| ask.longest_wait = None);
    }

    /// What was asked last.
    #[must_use]
    pub fn asked(&self) -> Ask {
        *self.asked.borrow()
    }

    /// Waits for an ask that is newer than this one. May be dropped at any time.
    pub async fn asked_after(&self, number: u64) {
        let newer = |ask: &Ask| ask.number > number;
        if self.asked.subscribe().wait_for(newer).await.is_err() {
            std::future::pending::<()>().await; // this very line holds the sender
        }
    }

    /// A session is about to be opened at this address.
    pub fn goes_to(&self, address: &str) {
        self.leads_to.send_replace(Some(address.to_owned()));
    }

    /// Where a session is open, or being opened. `None`: nowhere.
    #[must_use]
    pub fn leads_to(&self) -> Option<String> {
        self.leads_to.borrow().clone()
    }

    /// A session that was begun after this ask is open.
    pub fn opened(&self, number: u64) {
        self.stands.send_modify(|it| *it = Standing { answered: number.max(it.answered), open: true });
    }

    /// The control plane has answered on a way that was opened after this ask, without
    /// opening a session.
    pub fn answered(&self, number: u64) {
        self.stands.send_modify(|it| it.answered = number.max(it.answered));
    }

    /// No session is open any more.
    pub fn closed(&self) {
        self.leads_to.send_replace(None);
        self.stands.send_modify(|it| it.open = false);
    }

    /// Whether a session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stands.borrow().open
    }

    /// Whether an ask is answered.
    #[must_use]
    pub fn has_answered(&self, number: u64) -> bool {
        self.stands.borrow().answered >= number
    }

    /// Waits until an ask is answered. May be dropped at any time.
    pub async fn answer(&self, number: u64) {
        if self.stands.subscribe().wait_for(|it| it.answered >= number).await.is_err() {
            std::future::pending::<()>().await; // this very line holds the sender
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_was_opened_after_an_ask_answers_it() {
        let line = Line::default();
        line.opened(line.asked().number);
        let ask = line.ask(Duration::from_secs(1));
        assert!(line.is_open() && !line.has_answered(ask));
        line.opened(ask - 1);
        let soon = Duration::from_secs(60);
        assert!(tokio::time::timeout(soon, line.answer(ask)).await.is_err());
        line.closed();
        line.answered(ask);
        tokio::time::timeout(soon, line.answer(ask)).await.expect("it is answered");
        assert!(!line.is_open(), "by somebody who opened no session");
        line.opened(ask - 1);
        assert!(line.has_answered(ask), "an answer stays one");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ask_is_heard_by_whoever_listens_and_by_whoever_comes_later() {
        let line = Line::default();
        assert!(tokio::time::timeout(Duration::from_secs(60), line.asked_after(0)).await.is_err());
        let other = line.clone();
        let (number, ()) = tokio::join!(async { line.ask(Duration::from_secs(7)) }, other.asked_after(0));
        other.asked_after(number - 1).await;
        assert_eq!(other.asked().longest_wait, Some(Duration::from_secs(7)));
        other.rest();
        assert_eq!(line.asked(), Ask { number, longest_wait: None });
        let (asked, ()) = (line.ask(Duration::from_secs(7)), other.anew());
        line.asked_after(asked).await;
        assert_eq!(line.asked().longest_wait, Some(Duration::from_secs(7)), "the haste of others stays");
    }
}
