//! Why many nodes have one alert: what they have in common, and others have not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::mass_loss::{Candidates, Common, Named};

/// What the nodes of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// In one stable CamelCase word: `WholeGroup`, `CommonLabel` or `ManyNodes`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Why. So many nodes of a group called `group` (empty: the fleet) are affected, and so many of them in a
/// moment only; `common`: what they have in common, held against the others of the group; `reasons`: how many
/// nodes gave which reason.
#[must_use]
pub fn of_group(
    kind: Kind,
    group: &str,
    (affected, near): (usize, usize),
    common: Candidates,
    reasons: &BTreeMap<String, usize>,
) -> Cause {
    let total = affected + common.others();
    let place = if group.is_empty() { "of the fleet".to_owned() } else { format!("of {group}") };
    let (reason, why) = match common.named(affected) {
        Some(Named { common: Common::Everybody, .. }) => {
            ("WholeGroup", format!("that is nearly all {place}: look for one thing that they share"))
        }
        Some(Named { common: Common::Label(key, value), lost, there }) => {
            let all = lost + there;
            ("CommonLabel", format!("{lost} of the {all} nodes with {key}={value} are among them"))
        }
        // Networks and replicas are no part of what is asked for here.
        Some(Named { common: Common::Network(_) | Common::Replica(_), .. }) | None => {
            ("ManyNodes", format!("no label tells them from the others {place}"))
        }
    };
    let most = reasons.iter().max_by_key(|(_, count)| **count);
    let word = most.map(|(word, count)| format!("; {word} for {count} of them")).unwrap_or_default();
    let soon = if near == 0 { String::new() } else { format!(" ({near} of them in a moment)") };
    let message = format!("{affected} of {total} nodes {}{soon}: {why}{word}", kind.of_many());
    Cause { reason: reason.to_owned(), message }
}
