//! An event as whoever makes it tells it: what the write does not know by itself.

use std::{collections::BTreeMap, fmt::Display};

use muster_common::{
    clock::UnixMillis,
    ids::{EventId, NodeId, OperationId},
};

use super::{Event, Kind};
use crate::{
    alert::Severity,
    audit::{Stamp, text::plain},
};

/// Most bytes of a text of others.
const MAX_TEXT: usize = 512;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// When. `None`: with the write.
    pub at: Option<UnixMillis>,
    /// To which node.
    pub node: Option<NodeId>,
    /// About what.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// For people.
    pub message: String,
    /// More.
    pub details: BTreeMap<String, String>,
    /// By which operation.
    pub operation: Option<OperationId>,
}

impl Happened {
    /// Something of this kind.
    #[must_use]
    pub fn new(kind: Kind, message: &str) -> Self {
        Self {
            kind,
            severity: kind.severity(),
            at: None,
            node: None,
            subject: String::new(),
            reason: String::new(),
            message: bounded(message),
            details: BTreeMap::new(),
            operation: None,
        }
    }

    /// To this node.
    #[must_use]
    pub fn to(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }

    /// About this.
    #[must_use]
    pub fn about(self, subject: impl Display) -> Self {
        Self { subject: bounded(&subject.to_string()), ..self }
    }

    /// For this reason.
    #[must_use]
    pub fn for_reason(self, reason: &str) -> Self {
        Self { reason: bounded(reason), ..self }
    }

    /// It matters so much.
    #[must_use]
    pub fn as_bad_as(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// At this time.
    #[must_use]
    pub fn at(self, at: UnixMillis) -> Self {
        Self { at: Some(at), ..self }
    }

    /// By this operation.
    #[must_use]
    pub fn by(self, operation: OperationId) -> Self {
        Self { operation: Some(operation), ..self }
    }

    /// With this; nothing, if it is empty.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        let value = bounded(&value.to_string());
        if !value.is_empty() {
            self.details.insert(name.to_owned(), value);
        }
        self
    }

    /// The event of a write.
    #[must_use]
    pub fn event(self, id: EventId, stamp: &Stamp) -> Event {
        let stamp = stamp.bounded();
        // What the control plane does by itself, nobody did.
        let is_own = stamp.actor.starts_with("control-plane/");
        Event {
            id,
            kind: self.kind,
            severity: self.severity,
            at: self.at.unwrap_or(stamp.at),
            node: self.node,
            subject: self.subject,
            reason: self.reason,
            message: self.message,
            details: self.details,
            operation: self.operation,
            actor: if is_own { String::new() } else { stamp.actor },
            trace_id: stamp.trace_id,
            many: None,
            revision: 0,
        }
    }
}

/// Text of hosts and people: short, and nothing that a terminal would obey.
fn bounded(text: &str) -> String {
    let shown = plain(text);
    if shown.len() <= MAX_TEXT {
        return shown.into_owned();
    }
    let end = (0..=MAX_TEXT).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &shown[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(actor: &str) -> Stamp {
        Stamp {
            actor: actor.to_owned(),
            action: "nodes.update".to_owned(),
            at: UnixMillis(7),
            remote_address: String::new(),
            trace_id: "t".to_owned(),
        }
    }

    #[test]
    fn a_write_says_who_when_and_in_which_trace() {
        let what = || Happened::new(Kind::NodeRenamed, "a is b").with("to", "b").with("from", "");
        let event = what().event(EventId::from_u128(1), &stamp("operator/alice"));
        assert_eq!(
            (event.actor.as_str(), event.at, event.trace_id.as_str()),
            ("operator/alice", UnixMillis(7), "t")
        );
        assert_eq!(event.details.into_iter().collect::<Vec<_>>(), [("to".to_owned(), "b".to_owned())]);
        let event = what().at(UnixMillis(5)).event(EventId::from_u128(1), &stamp("control-plane/a"));
        assert_eq!((event.actor.as_str(), event.at), ("", UnixMillis(5)));
    }

    #[test]
    fn text_of_others_is_short_and_harmless() {
        let long = Happened::new(Kind::NodeRenamed, &"ü".repeat(1000)).message;
        assert!(long.len() <= MAX_TEXT + 3 && long.ends_with('…'), "{}", long.len());
        assert_eq!(Happened::new(Kind::NodeRenamed, "a\u{1b}[31m").message, "a\\u001b[31m");
    }
}
