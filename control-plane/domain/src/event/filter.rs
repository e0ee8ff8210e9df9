//! Which events someone wants to see.

use std::collections::BTreeSet;

use muster_common::{clock::UnixMillis, ids::NodeId};

use super::{Event, Kind};
use crate::alert::Severity;

/// All of these must hold; what is empty or absent always does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this node.
    pub node: Option<NodeId>,
    /// Of one of these kinds.
    pub kinds: BTreeSet<Kind>,
    /// At least so bad.
    pub least: Option<Severity>,
    /// Not before.
    pub since: Option<UnixMillis>,
    /// Before this, and not at it.
    pub until: Option<UnixMillis>,
}

impl Filter {
    /// Whether an event is wanted.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.node.is_none_or(|node| event.node == Some(node))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.least.is_none_or(|least| event.severity >= least)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }

    /// The kinds as one text, each between commas; empty: all.
    #[must_use]
    pub fn kinds_text(&self) -> String {
        let mut text = String::new();
        for kind in &self.kinds {
            text.push_str(if text.is_empty() { "," } else { "" });
            text.push_str(kind.as_str());
            text.push(',');
        }
        text
    }

    /// What binds a token to it.
    #[must_use]
    pub fn parts(&self) -> [String; 5] {
        let at = |at: Option<UnixMillis>| at.map_or_else(String::new, |at| at.0.to_string());
        [
            self.node.map(|node| node.to_string()).unwrap_or_default(),
            self.kinds_text(),
            self.least.map(Severity::as_str).unwrap_or_default().to_owned(),
            at(self.since),
            at(self.until),
        ]
    }
}
