//! Who is barred is out.

use std::time::Duration;

use super::Verdict;
use crate::history::{History, What};

/// In which nothing is taken any more from whoever was barred.
const BOUND: Duration = Duration::from_secs(2);

/// Nothing is taken from an identity that was barred, once the time for that is over.
pub(super) fn i10(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I10", "nothing is taken from a barred identity after two seconds");
    let barred = |what| if let &What::Barred { ref node } = what { Some(node.as_str()) } else { None };
    for (since, node) in history.of(barred) {
        let seen = |what| match what {
            &What::Welcomed { node: ref welcomed } => (welcomed == node).then_some("it was welcomed"),
            &What::Session { node: ref told, ref session } => {
                (told == node && !session.is_empty()).then_some("it is told to have a session")
            }
            _ => None,
        };
        let late = history.of(seen).find(|(at, _)| *at > since + BOUND);
        verdict.fact(late.is_none(), || {
            let (at, how) = late.unwrap_or_default();
            format!("{node} was barred at {since:?}; at {at:?} {how}")
        });
    }
    verdict
}
