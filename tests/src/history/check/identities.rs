//! Who is barred is out.

use std::time::Duration;

use super::{Verdict, ways::Ways};
use crate::history::History;

/// In which nothing is taken any more from whoever was barred.
const BOUND: Duration = Duration::from_secs(2);

/// Nothing is taken from an identity by the control plane that barred it, once the time for that
/// is over. Each look after that is a fact.
pub(super) fn i10(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I10", "nothing is taken from a barred identity after two seconds");
    for (since, (by, barred)) in history.barred() {
        let here = history.sessions().filter(|(_, (plane, node, _))| *plane == by && *node == barred);
        for (at, (_, node, has_session)) in here.filter(|(at, _)| *at > since + BOUND) {
            verdict
                .fact(!has_session, || format!("{node} was barred at {since:?} and has a session at {at:?}"));
        }
    }
    verdict
}

/// Nor by any other control plane, while that has its database or had it since.
#[must_use]
pub fn i10_elsewhere(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I10 elsewhere", "nor by a control plane that did not set the bar");
    let ways = Ways::of(history);
    for (since, (by, barred)) in history.barred() {
        let there = history.sessions().filter(|(_, (plane, node, _))| *plane != by && *node == barred);
        for (at, (plane, node, has_session)) in there {
            if ways.known(plane, at, BOUND) > since {
                verdict.fact(!has_session, || {
                    format!(
                        "{node} was barred by control plane {by} at {since:?}, and has a session with {plane} at {at:?}"
                    )
                });
            }
        }
    }
    verdict
}
