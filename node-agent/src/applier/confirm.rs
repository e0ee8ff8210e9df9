//! Whether a host still reaches the control plane with a change in place.
//!
//! The proof is a session that is opened for it, after the hooks have said yes: the one of
//! before may live on behind a firewall that lets no new connection through. Without proof
//! the change is undone. Whose fault that is shows only then: a control plane that is
//! reached as soon as the change is gone was cut off by it, one that stays away says
//! nothing of the change.

use std::time::Duration;

use muster_common::{crash, reason::Reason};

use super::{Applier, Failure, attempt::Attempt, change::Objection};
use crate::state::{Cause, Outcome};

/// Once a change is undone the control plane must be reached within this, or it was not the change.
const BACK_WITHIN: Duration = Duration::from_secs(20);
/// For what comes between two waits.
const SLACK: Duration = Duration::from_secs(300);
/// Tries have at most such a part of their time between them, and at most this.
const PART: u32 = 8;
const LONGEST_WAIT: Duration = Duration::from_secs(15);

impl Applier {
    /// What only a session can confirm is begun only where there is one.
    pub(super) fn check_line(&self) -> Result<(), Failure> {
        if self.base.line.is_open() {
            return Ok(());
        }
        let message = "there is no session with the control plane that could confirm it";
        Err(Failure::rejected(Reason::NotConfirmed, Cause::Network, message))
    }

    /// Opens a new session with the change in place, within some time.
    pub(super) async fn confirm(&self, attempt: &mut Attempt, within: Duration) -> Result<(), Objection> {
        let item = attempt.journal.item.clone();
        attempt.journal.confirm_until = Some(self.base.clock.now() + within);
        let (journal, folder) = (attempt.journal.clone(), self.base.folder.clone());
        let written = self.base.blocking(move || journal.save(&folder)).await;
        written.map_err(|error| Objection::of_a_change_that_was_told(Failure::host(&error)))?;
        crash::point("agent.apply.unconfirmed");
        let seconds = within.as_secs();
        tracing::info!(item, "{item} is in place; it is kept if a new session opens within {seconds} s");
        let (asked, answered) = self.ask(within).await;
        if answered {
            return Ok(());
        }
        let message =
            format!("with its files in place this host could open no new session within {seconds} s");
        Err(Objection::of_the_line(Failure::rejected(Reason::NotConfirmed, Cause::Network, message), asked))
    }

    /// Whose fault it was that the control plane was not reached with a change that is
    /// undone by now.
    pub(super) async fn blame(&self, failure: Failure, asked: u64) -> Failure {
        // An answer that came late, perhaps while it was undone, says nothing.
        if failure.outcome == Outcome::Broken || self.base.line.has_answered(asked) {
            return failure;
        }
        let Failure { outcome, mut error } = failure;
        let (message, seconds) = (error.message, BACK_WITHIN.as_secs());
        (error.cause, error.message) = if self.ask(BACK_WITHIN).await.1 {
            (Cause::Content, format!("{message}, and did so as soon as they were undone"))
        } else {
            (Cause::Network, format!("{message}, nor within {seconds} s after they were undone"))
        };
        Failure { outcome, error }
    }

    /// Asks for a new session: under which number, and whether it opened in time.
    async fn ask(&self, within: Duration) -> (u64, bool) {
        let line = &self.base.line;
        self.base.beat(within + SLACK);
        let asked = line.ask((within / PART).min(LONGEST_WAIT));
        let answered = tokio::time::timeout(within, line.answer(asked)).await.is_ok();
        line.rest();
        (asked, answered)
    }
}
