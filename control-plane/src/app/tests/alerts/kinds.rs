//! What each kind of rule finds.

use std::{collections::BTreeSet, time::Duration};

use muster_common::ids::RolloutId;
use muster_domain::{
    alert::{Kind, Rule, State, Subject, built_in},
    certificate::{Issued, NodeCertificate},
    condition::Condition,
    item::{Drift, ItemName, ItemState, Outcome, Progress},
    liveness::{self, Tracker},
    node::Node,
    page::Page,
    rollout::{Phase, Rollout, Speed},
    sighting::{Quarantine, Suspicion},
};
use muster_store::{WriteAlerts as _, WriteRollouts as _};

use super::{
    super::{
        bench::{Bench, NOW, hello, ledger, whole},
        repository::{Maker, release},
    },
    MINUTE,
};
use crate::{
    app::{alerts::Looked, fleet::Entry},
    session::frames::Hello,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn item(change: impl FnOnce(&mut ItemState)) -> Vec<ItemState> {
    let mut item = ItemState {
        item: ItemName::Settings,
        running: None,
        attempted: None,
        outcome: None,
        error: None,
        changed_at: NOW,
        drift: Vec::new(),
        progress: None,
        health: None,
    };
    change(&mut item);
    vec![item]
}

fn drift() -> Drift {
    Drift {
        path: "/etc/motd".to_owned(),
        what: "content".to_owned(),
        before: None,
        after: None,
        diff: String::new(),
        noticed_at: NOW,
        corrected: false,
        error: String::new(),
    }
}

/// What makes a node one that rules of a kind find. `None`: it is about no node, or needs more than a change of
/// one: a test of its own tries it.
fn change(kind: Kind) -> Option<fn(&mut Entry)> {
    let change: fn(&mut Entry) = match kind {
        Kind::NodeOffline => |it| it.tracker = Tracker::told(liveness::State::Offline),
        Kind::NodeLate => |it| it.tracker = Tracker::told(liveness::State::Late),
        Kind::CertificateExpiry => |it| it.node.certificate.current.not_after = NOW,
        Kind::ItemFailed => |it| it.node.items = item(|item| item.outcome = Some(Outcome::Broken)),
        Kind::ItemRejected => |it| it.node.items = item(|item| item.outcome = Some(Outcome::Rejected)),
        Kind::ItemStuck => |it| it.node.items = under_way(),
        Kind::Drift => |it| it.node.items = item(|item| item.drift = vec![drift()]),
        Kind::Quarantine => |it| {
            let (reason, seen, newest) = (Suspicion::TwoProcesses, Vec::new(), None);
            it.node.quarantine = Some(Box::new(Quarantine { reason, since: NOW, seen, newest }));
        },
        Kind::ClockSkew => |it| it.conditions = fails("ClockOk", "OutOfStep"),
        Kind::DiskNearlyFull => |it| it.conditions = fails("DiskOk", "NearlyFull"),
        Kind::VersionUnsupported
        | Kind::AuthorityExpiry
        | Kind::RepositoryExpiry
        | Kind::RolloutStopped
        | Kind::ReplicaLost => return None,
    };
    Some(change)
}

fn fails(kind: &str, reason: &str) -> Vec<Condition> {
    let (kind, reason, message) = (kind.to_owned(), reason.to_owned(), "as the host says".to_owned());
    vec![Condition { kind, holds: Some(false), reason, message, since: NOW }]
}

fn under_way() -> Vec<ItemState> {
    let progress =
        Progress { step: "downloading".to_owned(), percent: 7, since: NOW, message: String::new() };
    item(|item| item.progress = Some(progress))
}

/// Rules of which something is open now, about this if it is about something.
async fn open(bench: &Bench, looked: &mut Looked, subject: Option<&Subject>) -> BTreeSet<String> {
    bench.app.look_for_alerts(looked).await.unwrap();
    let open = bench.app.alerts(&whole(), Page { size: 100, after: None }, false).await.unwrap().rows;
    let found = open.into_iter().filter(|alert| subject.is_none_or(|it| alert.subject == *it));
    found.map(|alert| alert.rule).collect()
}

#[tokio::test]
async fn each_kind_of_rule_finds_what_it_is_about_and_lets_go_of_it() {
    let bench = Bench::new().await; // what it is made to be is not read anew
    let late = Rule { name: "node-late".to_owned(), kind: Kind::NodeLate, ..built_in().swap_remove(0) };
    bench.write(move |tx| Ok(tx.alert_rule_put(&late)?)).await;
    let rules = bench.app.alert_rules().await.unwrap();
    let mut looked = Looked::default();
    for (number, (kind, change)) in (1..).zip(Kind::ALL.iter().filter_map(|it| Some((it, change(*it)?)))) {
        let rule = rules.iter().find(|rule| rule.kind == *kind).unwrap();
        let (id, name) = (bench.node(number).await, &rule.name);
        let before = bench.app.fleet.with(id, |entry| entry.node.clone()).unwrap();
        let subject = Subject::Node(id);
        bench.goes(id, liveness::Event::Connected);
        bench.app.fleet.with(id, |mut entry| change(&mut entry));
        let is_open = async |looked: &mut Looked| open(&bench, looked, Some(&subject)).await.contains(name);
        assert_eq!(is_open(&mut looked).await, rule.hold.is_zero(), "{name}: not so for long enough");
        bench.app.clock.advance(rule.hold);
        assert!(is_open(&mut looked).await, "{name}");
        bench.app.fleet.with(id, |mut entry| {
            let certificate = NodeCertificate {
                current: Issued { not_after: NOW + MINUTE * 10_000, ..before.certificate.current.clone() },
                next: None,
            };
            entry.node = Node { certificate, ..before };
            entry.tracker = Tracker::told(liveness::State::Online);
            entry.conditions.clear();
        });
        assert!(!is_open(&mut looked).await, "{name}: it is over");
    }
    let known = built_in().into_iter().map(|rule| rule.kind).chain([Kind::NodeLate]);
    assert_eq!(known.collect::<BTreeSet<_>>(), Kind::ALL.into_iter().collect(), "none is forgotten");
}

#[tokio::test]
async fn an_agent_that_is_too_old_and_ends_of_metadata_and_of_the_authority_are_found() {
    let mut maker = Maker::new();
    let bench = maker.bench().await;
    let node = bench.node(1).await;
    maker.publish(&bench.app, 1, &[release("0.9.0", "any", b"9")]).await;
    bench.app.follow().await.unwrap();
    let old = Hello { agent_version: "0.1.0".to_owned(), ..hello(ledger(1, 1)) };
    let _session = bench.hello(node, &old).unwrap();
    let mut looked = Looked::default();
    for (later, rule) in [
        (MINUTE * 60, "version-unsupported"),
        (DAY * 29, "repository-expiry"),
        (DAY * 365 * 10, "authority-expiry"),
    ] {
        assert!(!open(&bench, &mut looked, None).await.contains(rule), "{rule}: too early");
        bench.app.clock.advance(later);
        assert!(open(&bench, &mut looked, None).await.contains(rule), "{rule}");
    }
}

#[tokio::test]
async fn a_node_is_offline_also_when_its_certificate_has_run_out_and_not_in_quarantine() {
    let bench = Bench::following().await;
    let (gone, kept) = (bench.gone(1).await, bench.node(2).await);
    bench.goes(gone, liveness::Event::CertificateExpired);
    for event in [liveness::Event::Connected, liveness::Event::Quarantined] {
        bench.goes(kept, event);
    }
    bench.look().await;
    let alerts = bench.alerts(&whole()).await;
    let of_rule: Vec<_> = alerts.iter().filter(|alert| alert.rule == "node-offline").collect();
    assert_eq!((of_rule.len(), &of_rule[0].subject), (1, &Subject::Node(gone)), "{alerts:?}");
    assert_eq!(
        (of_rule[0].reason.as_str(), of_rule[0].message.as_str()),
        ("CertificateExpired", "the node is offline, and its certificate has run out")
    );
}

#[tokio::test]
async fn of_an_item_on_a_host_that_is_not_heard_nobody_can_say_whether_it_is_stuck() {
    let bench = Bench::new().await;
    let (id, mut looked) = (bench.node(1).await, Looked::default());
    let is_open = async |looked: &mut Looked| open(&bench, looked, None).await.contains("item-stuck");
    let state = |state| bench.app.fleet.with(id, |mut entry| entry.tracker = Tracker::told(state)).unwrap();
    bench.app.fleet.with(id, |mut entry| entry.node.items = under_way());
    state(liveness::State::Offline);
    for _ in 0..2 {
        assert!(!is_open(&mut looked).await, "it is switched off");
        bench.app.clock.advance(MINUTE * 120);
    }
    state(liveness::State::Online);
    assert!(!is_open(&mut looked).await, "from now on it counts");
    bench.app.clock.advance(MINUTE * 60);
    assert!(is_open(&mut looked).await);
    state(liveness::State::Offline);
    assert!(is_open(&mut looked).await, "what was so stays so");
}

#[tokio::test]
async fn a_rollout_that_went_back_is_told_of_though_it_ended_before_anybody_looked() {
    let bench = Bench::following().await;
    let rollout = Rollout {
        id: RolloutId::from_u128(9),
        assignment: "web".to_owned(),
        from: None,
        to: None,
        plan: Speed::Normal.plan(),
        phase: Phase::RolledBack,
        reason: "TooManyFailed".to_owned(),
        message: "9 nodes failed, 1 are borne".to_owned(),
        step: 0,
        settled_at: None,
        approved: 0,
        created_at: NOW,
        created_by: "operator/alice".to_owned(),
        since: NOW,
        end: None,
        traced: None,
        revision: 0,
    };
    bench.write(move |tx| Ok(tx.rollout_insert(&rollout, None)?)).await;
    bench.look().await;
    let alerts = bench.alerts(&whole()).await;
    assert_eq!((alerts.len(), alerts[0].rule.as_str()), (1, "rollout-stopped"), "{alerts:?}");
    assert!(alerts[0].message.contains("web is rolled-back: 9 nodes failed"), "{alerts:?}");
    bench.app.clock.advance(MINUTE * 5);
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await[0].state(), State::Resolved);
}
