//! What many nodes do together, as one event that grows while it goes on.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{
    clock::UnixMillis,
    ids::{EventId, NodeId, OperationId},
};
use serde::{Deserialize, Serialize};

use super::{Event, Happened, Kind};
use crate::alert::Severity;

/// So many nodes of it are named.
pub const SHOWN: usize = 100;
/// When no more came for so long, it is over.
const QUIET: Duration = Duration::from_secs(60);
/// What takes longer is told in parts.
const LONGEST: Duration = Duration::from_secs(600);

/// How many, which, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Many {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub nodes: Vec<NodeId>,
    /// When the last of them came.
    pub until: UnixMillis,
}

/// Some that are alike: of one kind, about the same, for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What happened.
    pub kind: Kind,
    /// About what.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// Of the first of them, for people.
    pub message: String,
    /// The worst of them.
    pub severity: Severity,
    /// By which operation.
    pub operation: Option<OperationId>,
    /// When the first of them came.
    pub from: UnixMillis,
    /// The rest of it.
    pub many: Many,
}

/// Puts together what is alike. `now`: when it happened, where that is not said.
#[must_use]
pub fn groups(all: Vec<Happened>, now: UnixMillis) -> Vec<Group> {
    let mut groups: BTreeMap<(Kind, String, String), Group> = BTreeMap::new();
    for one in all {
        let at = one.at.unwrap_or(now);
        let key = (one.kind, one.subject.clone(), one.reason.clone());
        let group = groups.entry(key).or_insert_with(|| Group {
            kind: one.kind,
            subject: one.subject,
            reason: one.reason,
            message: one.message,
            severity: one.severity,
            operation: one.operation,
            from: at,
            many: Many { count: 0, nodes: Vec::new(), until: at },
        });
        group.severity = group.severity.max(one.severity);
        group.from = group.from.min(at);
        let many = &mut group.many;
        many.count += 1;
        many.until = many.until.max(at);
        many.nodes.extend(one.node.filter(|_| many.nodes.len() < SHOWN));
    }
    groups.into_values().collect()
}

impl Group {
    /// The event that it is, if it begins now.
    #[must_use]
    pub fn begun(self, id: EventId) -> Event {
        Event {
            id,
            kind: self.kind,
            severity: self.severity,
            at: self.from,
            node: None,
            message: match self.many.count {
                1 => self.message,
                count => sentence(self.kind, &self.subject, &self.reason, count),
            },
            subject: self.subject,
            reason: self.reason,
            details: BTreeMap::new(),
            operation: self.operation,
            actor: String::new(),
            trace_id: String::new(),
            many: Some(self.many),
            revision: 0,
        }
    }
}

impl Event {
    /// Whether what happens now is still part of it.
    #[must_use]
    pub fn takes_in(&self, now: UnixMillis) -> bool {
        let goes_on = |many: &Many| now.since(many.until) <= QUIET && now.since(self.at) <= LONGEST;
        self.many.as_ref().is_some_and(goes_on)
    }

    /// The same with more of them.
    #[must_use]
    pub fn with(self, more: Group) -> Self {
        let mut many = more.many;
        if let Some(mut before) = self.many {
            many.nodes.retain(|node| !before.nodes.contains(node));
            before.nodes.append(&mut many.nodes);
            before.nodes.truncate(SHOWN);
            many = Many {
                count: before.count + many.count,
                nodes: before.nodes,
                until: before.until.max(many.until),
            };
        }
        Self {
            severity: self.severity.max(more.severity),
            at: self.at.min(more.from),
            message: sentence(self.kind, &self.subject, &self.reason, many.count),
            many: Some(many),
            ..self
        }
    }
}

fn sentence(kind: Kind, subject: &str, reason: &str, count: u64) -> String {
    let does = kind.of_many();
    match kind {
        Kind::CommandEnded => format!("{count} commands of {subject} {does}: {reason}"),
        kind if kind.is_of_items() => format!("{subject} {does} on {count} nodes"),
        _ => format!("{count} nodes {does}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline(node: u128, at: i64) -> Happened {
        Happened::new(Kind::NodeOffline, "it is offline").to(NodeId::from_u128(node)).at(UnixMillis(at))
    }

    #[test]
    fn what_is_alike_is_one_group() {
        let item = Happened::new(Kind::ItemApplied, "of one").about("bundle/web").to(NodeId::from_u128(9));
        let all = vec![offline(1, 50), item.clone(), offline(2, 40), item.about("bundle/db")];
        let groups = groups(all, UnixMillis(70));
        let shown: Vec<_> = groups.iter().map(|it| (it.kind, it.subject.as_str(), it.many.count)).collect();
        assert_eq!(
            shown,
            [
                (Kind::NodeOffline, "", 2),
                (Kind::ItemApplied, "bundle/db", 1),
                (Kind::ItemApplied, "bundle/web", 1)
            ]
        );
        assert_eq!((groups[0].from, groups[0].many.until), (UnixMillis(40), UnixMillis(50)));
        let messages: Vec<String> =
            groups.into_iter().map(|group| group.begun(EventId::from_u128(1)).message).collect();
        assert_eq!(messages[..2], ["2 nodes are offline", "of one"]);
    }

    #[test]
    fn it_grows_while_it_goes_on_and_names_no_more_than_it_may() {
        let some = |from: u128, at| {
            let all = (from..from + 80).map(|node| offline(node, at)).collect();
            groups(all, UnixMillis(at)).pop().unwrap()
        };
        let event = some(0, 0).begun(EventId::from_u128(1));
        assert!(event.takes_in(UnixMillis(60_000)) && !event.takes_in(UnixMillis(60_001)));
        let grown = event.with(some(40, 50_000));
        let many = grown.many.as_ref().unwrap();
        assert_eq!((many.count, many.nodes.len(), many.until), (160, SHOWN, UnixMillis(50_000)));
        assert_eq!((grown.at, grown.message.as_str()), (UnixMillis(0), "160 nodes are offline"));
        let long = (1..13).fold(grown, |event, n| event.with(some(0, n * 55_000)));
        assert!(!long.takes_in(UnixMillis(13 * 55_000)), "it is told in parts");
        let one = Happened::new(Kind::NodeOffline, "");
        let stamp = crate::audit::Stamp {
            actor: String::new(),
            action: String::new(),
            at: UnixMillis(0),
            remote_address: String::new(),
            trace_id: String::new(),
        };
        assert!(!one.event(EventId::from_u128(2), &stamp).takes_in(UnixMillis(0)), "one is not many");
    }
}
