//! Who is barred is out.

use std::time::Duration;

use super::Verdict;
use crate::history::History;

/// In which nothing is taken any more from whoever was barred.
const BOUND: Duration = Duration::from_secs(2);

/// Nothing is taken from an identity that was barred, once the time for that is over. Each look
/// after that is a fact.
pub(super) fn i10(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I10", "nothing is taken from a barred identity after two seconds");
    for (since, barred) in history.barred() {
        let late = history.sessions().filter(|(at, (node, _))| *at > since + BOUND && *node == barred);
        for (at, (node, has_session)) in late {
            verdict
                .fact(!has_session, || format!("{node} was barred at {since:?} and has a session at {at:?}"));
        }
    }
    verdict
}
