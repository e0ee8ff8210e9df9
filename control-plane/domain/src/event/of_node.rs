//! What nodes report, as events.

use muster_common::ids::NodeId;

use super::{Happened, Kind};
use crate::{
    alert::Severity,
    item::{ItemName, ItemState, Outcome},
    liveness::{Liveness, State, is_lost},
};

/// What it is that a node went from one state of hearing to another. `None`: nothing happened to the
/// node. That the control plane was away, and has not heard it yet or hears it again, is no event
/// of the node; that it is late is told when it is over, one way or the other.
#[must_use]
pub const fn hearing(was: State, is: State) -> Option<Kind> {
    match (was, is) {
        (State::NeverSeen | State::Offline | State::Expired, State::Online | State::Quarantined) => {
            Some(Kind::NodeOnline)
        }
        (State::Late, State::Online | State::Quarantined) => Some(Kind::NodeLate),
        (
            State::NeverSeen | State::Online | State::Late | State::Unknown | State::Quarantined,
            State::Offline,
        ) => Some(Kind::NodeOffline),
        (
            State::NeverSeen
            | State::Online
            | State::Late
            | State::Offline
            | State::Unknown
            | State::Quarantined,
            State::Expired,
        ) => Some(Kind::NodeExpired),
        (_, State::NeverSeen | State::Late | State::Unknown)
        | (State::Online | State::Unknown | State::Quarantined, State::Online | State::Quarantined)
        | (State::Offline | State::Expired, State::Offline)
        | (State::Expired, State::Expired) => None,
    }
}

/// The event of it.
#[must_use]
pub fn of_hearing(node: NodeId, name: &str, was: State, is: &Liveness) -> Option<Happened> {
    let kind = hearing(was, is.state)?;
    let message = match kind {
        Kind::NodeOnline => format!("{name} is online"),
        Kind::NodeLate => format!("{name} was late and is heard again"),
        Kind::NodeExpired => format!("{name} is offline, and its certificate has run out"),
        _ => format!("{name} is offline"),
    };
    let happened = Happened::new(kind, &message).to(node).for_reason(&is.reason).at(is.since);
    // Who takes leave is not missed.
    let is_announced = kind == Kind::NodeOffline && !is_lost(&is.reason);
    Some(if is_announced { happened.as_bad_as(Severity::Info) } else { happened })
}

/// What a node says for the first time of an item. `after`: nothing of it is left.
#[must_use]
pub fn of_item(
    node: NodeId,
    name: &str,
    before: Option<&ItemState>,
    after: Option<&ItemState>,
) -> Vec<Happened> {
    let Some(state) = after else {
        let ran = before.filter(|it| it.running.is_some());
        let gone = |it: &ItemState| {
            let message = format!("{} was removed from {name}", it.item);
            Happened::new(Kind::ItemRemoved, &message).to(node).about(&it.item)
        };
        return ran.map(gone).into_iter().collect();
    };
    let is_same = before.is_some_and(|it| it.attempted == state.attempted && it.outcome == state.outcome);
    let answered = state.outcome.filter(|_| !is_same).and_then(|outcome| kind_of(&state.item, outcome));
    let drifted = !state.drift.is_empty() && before.is_none_or(|it| it.drift.is_empty());
    let kinds = answered.into_iter().chain(drifted.then_some(Kind::ItemDrifted));
    kinds.map(|kind| told(node, name, kind, state)).collect()
}

const fn kind_of(item: &ItemName, outcome: Outcome) -> Option<Kind> {
    match outcome {
        Outcome::Applied if matches!(item, ItemName::Release) => Some(Kind::AgentUpgraded),
        Outcome::Applied => Some(Kind::ItemApplied),
        Outcome::Unchanged => None,
        Outcome::RolledBack => Some(Kind::ItemRolledBack),
        Outcome::Rejected => Some(Kind::ItemRejected),
        Outcome::Broken => Some(Kind::ItemFailed),
        Outcome::Removed => Some(Kind::ItemRemoved),
    }
}

fn told(node: NodeId, name: &str, kind: Kind, state: &ItemState) -> Happened {
    let does = match kind {
        Kind::AgentUpgraded => "runs on",
        Kind::ItemRemoved => "was removed from",
        Kind::ItemFailed => "broke on",
        Kind::ItemRolledBack => "was rolled back on",
        Kind::ItemRejected => "was refused by",
        Kind::ItemDrifted => "drifted on",
        _ => "was applied on",
    };
    let version = state.attempted.as_ref().map_or("", |it| it.version.as_str());
    let item = &state.item;
    let message = if version.is_empty() {
        format!("{item} {does} {name}")
    } else {
        format!("{item} {version} {does} {name}")
    };
    let happened = Happened::new(kind, &message).to(node).about(item).with("version", version);
    if kind == Kind::ItemDrifted {
        let paths: Vec<&str> = state.drift.iter().map(|drift| drift.path.as_str()).collect();
        return happened.with("paths", paths.join(", "));
    }
    let Some(error) = state.error.as_ref().filter(|_| state.outcome.is_some_and(Outcome::is_refusal)) else {
        return happened;
    };
    let reason = error.reason.map(|reason| reason.to_string()).unwrap_or_default();
    happened.for_reason(&reason).with("error", &error.message)
}

#[cfg(test)]
mod tests {
    use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation};

    use super::*;
    use crate::item::ItemVersion;

    const NODE: NodeId = NodeId::from_u128(1);

    fn state(number: u64, outcome: Option<Outcome>) -> ItemState {
        let version = ItemVersion {
            generation: Generation::new(1, number),
            version: number.to_string(),
            sha256: Sha256::of(&number.to_be_bytes()),
        };
        ItemState {
            item: "bundle/web".parse().unwrap(),
            running: Some(version.clone()),
            attempted: Some(version),
            outcome,
            error: None,
            changed_at: UnixMillis(0),
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    fn kinds(before: Option<&ItemState>, after: Option<&ItemState>) -> Vec<Kind> {
        of_item(NODE, "web-1", before, after).into_iter().map(|it| it.kind).collect()
    }

    #[test]
    fn an_outcome_is_told_once_and_what_did_not_change_is_not() {
        let (applied, begun) = (state(1, Some(Outcome::Applied)), state(2, None));
        assert_eq!(kinds(None, Some(&applied)), [Kind::ItemApplied]);
        assert_eq!(kinds(Some(&applied), Some(&applied)), []);
        assert_eq!(kinds(Some(&applied), Some(&begun)), []);
        assert_eq!(kinds(Some(&begun), Some(&state(2, Some(Outcome::RolledBack)))), [Kind::ItemRolledBack]);
        assert_eq!(kinds(Some(&begun), Some(&state(2, Some(Outcome::Unchanged)))), []);
        assert_eq!(kinds(Some(&applied), None), [Kind::ItemRemoved]);
        assert_eq!(kinds(None, None), []);
        let release = ItemState { item: ItemName::Release, ..applied };
        let told = of_item(NODE, "web-1", None, Some(&release)).pop().unwrap();
        assert_eq!(
            (told.kind, told.message.as_str()),
            (Kind::AgentUpgraded, "release/agent 1 runs on web-1")
        );
    }

    #[test]
    fn what_the_control_plane_did_not_hear_is_no_event_of_a_node() {
        use State::{Expired, Late, NeverSeen, Offline, Online, Quarantined, Unknown};
        for (was, is) in
            [(Online, Unknown), (Unknown, Online), (Unknown, Quarantined), (Online, Late), (Unknown, Late)]
        {
            assert_eq!(hearing(was, is), None, "{was:?} {is:?}");
        }
        for was in [NeverSeen, Offline, Expired] {
            assert_eq!(hearing(was, Online), Some(Kind::NodeOnline));
        }
        assert_eq!(hearing(Late, Online), Some(Kind::NodeLate));
        assert_eq!(hearing(Unknown, Offline), Some(Kind::NodeOffline));
        assert_eq!(hearing(Offline, Expired), Some(Kind::NodeExpired));
        let left = Liveness { state: Offline, since: UnixMillis(3), reason: "AgentStopped".into() };
        let told = of_hearing(NODE, "web-1", Online, &left).unwrap();
        assert_eq!((told.severity, told.at), (Severity::Info, Some(UnixMillis(3))));
    }
}
