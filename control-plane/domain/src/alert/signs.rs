//! What is to be seen of one node, or of something else, in the light of one rule.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{clock::UnixMillis, ids::NodeId};

use super::{Kind, Subject};
use crate::{
    condition::Condition,
    item::{ItemState, Outcome},
    labels::Labels,
    liveness::State,
    node::Node,
};

/// What is known of a node at a moment.
#[derive(Debug, Clone, Copy)]
pub struct NodeSeen<'a> {
    /// As it reports, and is stored.
    pub node: &'a Node,
    /// Whether it is heard.
    pub state: State,
    /// What it says holds, and what is said of it.
    pub conditions: &'a [Condition],
    /// The moment.
    pub now: UnixMillis,
}

/// Whether what a rule looks for is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It is not.
    Clear,
    /// Nobody can say now: whatever was so before is taken to be so still.
    Unknown,
    /// Not yet, and likely soon.
    Near,
    /// It is.
    Holds {
        /// Since when by our clock. `None`: since it was seen.
        since: Option<UnixMillis>,
        /// In one stable CamelCase word.
        reason: String,
        /// For people.
        message: String,
        /// As long as this is the same, it is the same that holds.
        mark: String,
    },
}

/// Something for which it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub subject: Subject,
    /// Of the node.
    pub labels: Labels,
    /// Of damping: the value of its label.
    pub group: String,
    /// Since when by our clock. `None`: since it was seen.
    pub since: Option<UnixMillis>,
    /// In one stable CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// As long as this is the same, it is the same that holds.
    pub mark: String,
}

/// All that one look finds for one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// Nodes that the rule is about, by group.
    pub totals: BTreeMap<String, usize>,
    /// For which it is so.
    pub found: Vec<Found>,
    /// For which it is likely soon, each with its group.
    pub near: Vec<(NodeId, String)>,
    /// For which nobody can say, each with its group.
    pub unknown: Vec<(NodeId, String)>,
}

impl Signs {
    /// Takes in one node of the rule.
    pub fn add(&mut self, node: &Node, by: &str, sign: Sign) {
        let group = group_of(&node.labels, by);
        match self.totals.get_mut(group) {
            Some(total) => *total += 1,
            None => drop(self.totals.insert(group.to_owned(), 1)),
        }
        match sign {
            Sign::Clear => {}
            Sign::Near => self.near.push((node.id, group.to_owned())),
            Sign::Unknown => self.unknown.push((node.id, group.to_owned())),
            Sign::Holds { since, reason, message, mark } => self.found.push(Found {
                subject: Subject::Node(node.id),
                labels: node.labels.clone(),
                group: group.to_owned(),
                since,
                reason,
                message,
                mark,
            }),
        }
    }

    /// Takes in what is about no node.
    pub fn add_thing(&mut self, name: String, reason: &str, message: String, since: Option<UnixMillis>) {
        self.found.push(Found {
            subject: Subject::Thing(name),
            labels: Labels::new(),
            group: String::new(),
            since,
            reason: reason.to_owned(),
            message,
            mark: String::new(),
        });
    }
}

/// The group of a node with these labels, if this one makes groups; empty: the fleet, or those without it.
#[must_use]
pub fn group_of<'a>(labels: &'a Labels, by: &str) -> &'a str {
    if by.is_empty() { "" } else { labels.get(by).unwrap_or_default() }
}

/// What is to be seen of a node. `threshold`: so long before an end.
#[must_use]
pub fn sign(kind: Kind, threshold: Duration, seen: &NodeSeen<'_>) -> Sign {
    match kind {
        Kind::NodeOffline | Kind::NodeLate => silence(kind, seen),
        Kind::CertificateExpiry => certificate(threshold, seen),
        Kind::ItemFailed => refused(seen, |it| matches!(it, Outcome::RolledBack | Outcome::Broken)),
        Kind::ItemRejected => refused(seen, |it| it == Outcome::Rejected),
        Kind::ItemStuck => stuck(seen),
        Kind::Drift => drifted(seen.node),
        Kind::Quarantine => match &seen.node.quarantine {
            Some(it) => {
                holds(Some(it.since), it.reason.as_str(), it.reason.describe().to_owned(), String::new())
            }
            None => Sign::Clear,
        },
        Kind::ClockSkew => fails(seen, "ClockOk"),
        Kind::DiskNearlyFull => fails(seen, "DiskOk"),
        Kind::VersionUnsupported => fails(seen, "VersionSupported"),
        Kind::AuthorityExpiry | Kind::RepositoryExpiry | Kind::RolloutStopped | Kind::ReplicaLost => {
            Sign::Clear
        }
    }
}

fn holds(since: Option<UnixMillis>, reason: &str, message: String, mark: String) -> Sign {
    Sign::Holds { since, reason: reason.to_owned(), message, mark }
}

fn silence(kind: Kind, seen: &NodeSeen<'_>) -> Sign {
    let liveness = &seen.node.liveness;
    let word =
        |state| holds(Some(liveness.since), &liveness.reason, format!("the node is {state}"), String::new());
    match (seen.state, kind) {
        (State::Offline, _) => word("offline"),
        (State::Late, Kind::NodeLate) => word("late"),
        (State::Late, _) => Sign::Near,
        (State::Expired, _) => word("offline, and its certificate has run out"),
        // Who is in quarantine is there.
        (State::Online | State::NeverSeen | State::Quarantined, _) => Sign::Clear,
        (State::Unknown, _) => Sign::Unknown,
    }
}

fn certificate(threshold: Duration, seen: &NodeSeen<'_>) -> Sign {
    let last = seen.node.certificate.both().max_by_key(|issued| issued.not_after);
    let Some((begin, end)) = last.map(|issued| (issued.not_before, issued.not_after)) else {
        return Sign::Clear;
    };
    let ahead = ahead(threshold, begin, end);
    if end > seen.now + ahead {
        return Sign::Clear;
    }
    let reason = if end <= seen.now { "Expired" } else { "EndsSoon" };
    let message = format!("its certificate {}, and was not renewed", ends(end, seen.now));
    holds(Some(end - ahead), reason, message, String::new())
}

/// How long before its end something is told of that may live for a short time only: in its last sixth.
#[must_use]
pub fn ahead(threshold: Duration, begin: UnixMillis, end: UnixMillis) -> Duration {
    threshold.min(end.since(begin) / 6)
}

/// When something ends, as people say it: in days or hours, so that it is another text rarely.
#[must_use]
pub fn ends(end: UnixMillis, now: UnixMillis) -> String {
    match end.since(now).as_secs() / 3600 {
        _ if end <= now => "has run out".to_owned(),
        0 => "ends within an hour".to_owned(),
        hours if hours >= 48 => format!("ends in {} days", hours / 24),
        hours => format!("ends in {hours} hours"),
    }
}

fn refused(seen: &NodeSeen<'_>, is: fn(Outcome) -> bool) -> Sign {
    let of = |item: &&ItemState| item.outcome.is_some_and(is);
    let mut items = seen.node.items.iter().filter(of);
    let Some(first) = items.next() else { return Sign::Clear };
    let more = items.count();
    let error = first.error.as_ref();
    let reason =
        error.and_then(|it| it.reason).map_or_else(|| "Unspecified".to_owned(), |it| camel(it.as_str()));
    let version = first.attempted.as_ref().map_or("", |it| it.version.as_str());
    let also = if more == 0 { String::new() } else { format!(", and {more} more items") };
    let message = format!("{} {version}: {}{also}", first.item, error.map_or("", |it| &it.message));
    holds(None, &reason, message, String::new())
}

/// `HOOK_FAILED` as `HookFailed`.
fn camel(word: &str) -> String {
    let part = |part: &str| {
        let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        first.to_owned() + &rest.to_ascii_lowercase()
    };
    word.split('_').map(part).collect()
}

fn stuck(seen: &NodeSeen<'_>) -> Sign {
    let mut under_way = seen.node.items.iter().filter(|item| item.is_under_way());
    let under_way = under_way.find_map(|item| Some((item, item.progress.as_ref()?)));
    let Some((item, progress)) = under_way else { return Sign::Clear };
    if seen.state != State::Online {
        return Sign::Unknown; // it may have moved, or be done
    }
    let message =
        format!("{} is at {}, {} %: {}", item.item, progress.step, progress.percent, progress.message);
    let mark = format!("{} {} {}", item.item, progress.step, progress.percent);
    holds(None, "Stuck", message, mark)
}

fn drifted(node: &Node) -> Sign {
    let drift = node.items.iter().find_map(|item| Some((item, item.drift.iter().find(|it| !it.corrected)?)));
    let Some((item, drift)) = drift else { return Sign::Clear };
    let message = format!("{} differs at {}: {}", item.item, drift.path, drift.what);
    holds(None, "Drifted", message, String::new())
}

fn fails(seen: &NodeSeen<'_>, kind: &str) -> Sign {
    match seen.conditions.iter().find(|it| it.kind == kind) {
        Some(it) if it.holds == Some(false) => holds(None, &it.reason, it.message.clone(), String::new()),
        // It says so again when it is back.
        None if seen.state != State::Online => Sign::Unknown,
        _ => Sign::Clear,
    }
}
