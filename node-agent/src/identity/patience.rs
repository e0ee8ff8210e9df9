//! Enrolling where a person must say yes first: the host asks again, with the same
//! key, as often as the control plane says, and not for ever.

use std::time::Duration;

use muster_common::{backoff::Backoff, clock::Clock, digest::Sha256, reason::Reason};

use super::{Error, Identity, Join, Store, Wish, enroll};

/// Between two questions, if the control plane does not say.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest pause, whatever it says: the person at the host waits, too.
const LONGEST: Duration = Duration::from_secs(60);

/// Where a host stands that waits.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// What the control plane said.
    pub why: &'a Error,
    /// SHA-256 of the public key info that the person who approves sees, too.
    pub key_sha256: Sha256,
    /// Until the next question; `None`: there is none, the time is over.
    pub pause: Option<Duration>,
}

/// As [`enroll`]; a host that must be approved asks again for so long. `tell` hears
/// of every question that brought no node yet.
///
/// # Errors
/// As `enroll`; `APPROVAL_PENDING` when the time is over.
pub async fn enroll_when_approved(
    store: &Store,
    join: &Join,
    wish: &Wish,
    patience: Duration,
    mut tell: impl FnMut(&Waiting<'_>),
) -> Result<Identity, Error> {
    let end = Clock::System.monotonic() + patience;
    let (mut waits, mut backoff) = (false, Backoff::new(PAUSE, LONGEST));
    loop {
        let error = match enroll(store, join, wish).await {
            Ok(identity) => return Ok(identity),
            Err(error) => error,
        };
        waits |= error.reason() == Some(Reason::ApprovalPending);
        let Some(pause) = pause(&error, waits, &mut backoff) else { return Err(error) };
        let in_time = Clock::System.monotonic() + pause < end;
        let key_sha256 = store.pending_key_sha256()?;
        tell(&Waiting { why: &error, key_sha256, pause: in_time.then_some(pause) });
        if !in_time {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
}

/// How long until it is worth asking again. `None`: it is not. A host that waits bears
/// with a control plane that is away for a moment; one that was not heard yet does not.
fn pause(error: &Error, waits: bool, backoff: &mut Backoff) -> Option<Duration> {
    let told = match error {
        Error::Refused(refusal) => match refusal.reason {
            Some(Reason::ApprovalPending) => {
                backoff.reset();
                return Some(refusal.retry_after.unwrap_or(PAUSE).min(LONGEST));
            }
            None | Some(Reason::Overloaded | Reason::ShuttingDown | Reason::RateLimited) => {
                refusal.retry_after.unwrap_or_default()
            }
            Some(_) => return None,
        },
        Error::Dial(crate::dial::Error::Untrusted { .. }) => return None,
        Error::Dial(_) => Duration::ZERO,
        _ => return None,
    };
    // Not both at once: those who were told the same time would come as one.
    waits.then(|| (told + backoff.next_wait()).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial;

    fn refused(reason: Option<Reason>, retry_after: Option<Duration>) -> Error {
        dial::Refusal { reason, message: String::new(), retry_after, alert: false }.into()
    }

    fn paused(error: &Error, waits: bool) -> Option<Duration> {
        pause(error, waits, &mut Backoff::new(PAUSE, LONGEST))
    }

    #[test]
    fn a_host_that_waits_asks_when_it_is_told_to() {
        let told = Some(Duration::from_secs(7));
        assert_eq!(paused(&refused(Some(Reason::ApprovalPending), told), true), told);
        assert_eq!(paused(&refused(Some(Reason::ApprovalPending), None), true), Some(PAUSE));
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(paused(&refused(Some(Reason::ApprovalPending), hour), true), Some(LONGEST));
    }

    #[test]
    fn a_no_ends_the_waiting_and_a_control_plane_that_is_away_does_not() {
        for reason in
            [Reason::ApprovalDenied, Reason::TokenExpired, Reason::TokenRevoked, Reason::TokenUsedUp]
        {
            assert_eq!(paused(&refused(Some(reason), None), true), None, "{reason}");
        }
        let address = "plane.example:8444".to_owned();
        let away = || Error::from(dial::Error::Slow { address: address.clone() });
        assert!(paused(&away(), true).is_some());
        assert!(paused(&refused(Some(Reason::ShuttingDown), None), true).is_some());
        assert_eq!(paused(&away(), false), None, "who was not heard yet is told at once");
        let source = std::io::Error::other("another root");
        let untrusted = dial::Error::Untrusted { address: address.clone(), source };
        assert_eq!(paused(&untrusted.into(), true), None);
    }
}
