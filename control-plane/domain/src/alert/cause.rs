//! Why many nodes have one alert: what they have in common, and others have not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::labels::Labels;

/// Labels that are held against the others.
const MAX_COMMON: usize = 16;

/// What the nodes of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// In one stable CamelCase word: `WholeGroup`, `CommonLabel` or `ManyNodes`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A label that most of them have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// As `site=fra`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// How many of them have it.
    pub members: usize,
}

/// Labels that at least nine of ten have: those that are worth to be counted among all nodes.
#[must_use]
pub fn common<'a>(members: impl Iterator<Item = &'a Labels>) -> Vec<Common> {
    let (mut counts, mut total) = (BTreeMap::<(&str, &str), usize>::new(), 0);
    for labels in members {
        total += 1;
        for pair in labels {
            *counts.entry(pair).or_default() += 1;
        }
    }
    let most = counts.into_iter().filter(|(_, members)| members * 10 >= total * 9);
    let shown =
        most.map(|((key, value), members)| Common { key: key.to_owned(), value: value.to_owned(), members });
    shown.take(MAX_COMMON).collect()
}

/// Why. `affected` of the `total` nodes of a group called `group` (empty: the fleet), `near` of them
/// in a moment only; `labels`: what is common to them, each with how many of all nodes have it; `reasons`: how many nodes
/// gave which reason.
#[must_use]
pub fn of_group(
    kind: Kind,
    group: &str,
    (affected, near, total): (usize, usize, usize),
    labels: &[(Common, usize)],
    reasons: &BTreeMap<String, usize>,
) -> Cause {
    let whole = affected * 10 >= total * 9;
    // The label by which the fewest are named that are well.
    let narrow = labels.iter().filter(|(it, all)| it.members * 10 >= all * 9 && all * 10 < total * 9);
    let narrow =
        narrow.min_by_key(|(it, all)| (all.saturating_sub(it.members), std::cmp::Reverse(it.members)));
    let place = if group.is_empty() { "of the fleet".to_owned() } else { format!("of {group}") };
    let (reason, why) = match narrow {
        _ if whole => {
            ("WholeGroup", format!("that is nearly all {place}: look for one thing that they share"))
        }
        Some((it, all)) => {
            let (key, value, members) = (&it.key, &it.value, it.members);
            ("CommonLabel", format!("{members} of the {all} nodes with {key}={value} are among them"))
        }
        None => ("ManyNodes", format!("no label tells them from the others {place}")),
    };
    let most = reasons.iter().max_by_key(|(_, count)| **count);
    let word = most.map(|(word, count)| format!("; {word} for {count} of them")).unwrap_or_default();
    let soon = if near == 0 { String::new() } else { format!(" ({near} of them in a moment)") };
    let message = format!("{affected} of {total} nodes {}{soon}: {why}{word}", kind.of_many());
    Cause { reason: reason.to_owned(), message }
}
