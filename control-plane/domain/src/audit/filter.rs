//! Which entries someone wants to see.

use muster_common::clock::UnixMillis;

use super::Entry;

/// All of these must hold; what is empty or absent always does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Exactly this subject.
    pub subject: String,
    /// Exactly this actor.
    pub actor: String,
    /// Actions that start so.
    pub action_prefix: String,
    /// Refused calls only.
    pub denied_only: bool,
    /// Exactly this chain.
    pub replica: String,
    /// Not before.
    pub since: Option<UnixMillis>,
    /// Before this, and not at it.
    pub until: Option<UnixMillis>,
}

impl Filter {
    /// Whether an entry is wanted.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(&self.subject, &entry.note.subject)
            && is(&self.actor, &entry.stamp.actor)
            && is(&self.replica, &entry.replica)
            && entry.stamp.action.starts_with(&self.action_prefix)
            && (entry.note.denied || !self.denied_only)
            && self.since.is_none_or(|since| entry.stamp.at >= since)
            && self.until.is_none_or(|until| entry.stamp.at < until)
    }

    /// What binds a token to it.
    #[must_use]
    pub fn parts(&self) -> [String; 7] {
        let at = |at: Option<UnixMillis>| at.map_or_else(String::new, |at| at.0.to_string());
        [
            self.subject.clone(),
            self.actor.clone(),
            self.action_prefix.clone(),
            self.denied_only.to_string(),
            self.replica.clone(),
            at(self.since),
            at(self.until),
        ]
    }
}
