//! A release on its way to twenty nodes that answer as hosts do: step by step, and not all well.

use std::collections::BTreeMap;

use muster_common::{
    ids::{NodeId, RolloutId},
    reason::Reason,
};
use muster_domain::{
    assignment::Target,
    item::{Cause, Health, ItemError, ItemName, ItemState, ItemVersion, Outcome, Progress},
    rollout::{Hold, Phase, Share, Standing},
};

use super::{
    bench::{Bench, NOW, alice, hello, ledger, whole},
    repository::{Maker, release},
    rollouts::plan,
};
use crate::{
    app::{Error, assignments, rollouts::Wish},
    session::{
        frames::{Hello, ItemReport},
        hub::Handle,
        ports::{Desk as _, Inbox as _},
    },
};

/// Connected nodes that run the older of two releases.
struct Fleet {
    bench: Bench,
    sessions: BTreeMap<NodeId, Handle>,
}

/// What a host makes of the release.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// It runs it on trial.
    OnTrial,
    /// It runs it.
    Well,
    /// It runs it, and is not well with it.
    Ill,
    /// It has gone back.
    Back,
}

fn target(version: &str) -> Target {
    Target::Release { version: version.to_owned() }
}

impl Fleet {
    async fn new() -> Self {
        let mut maker = Maker::new();
        let bench = maker.bench().await;
        maker.publish(&bench.app, 1, &[release("0.2.0", "any", b"2"), release("0.3.0", "any", b"3")]).await;
        let wish = assignments::Wish {
            name: "agents".to_owned(),
            selector: "*".to_owned(),
            exclusions: Vec::new(),
            target: target("0.2.0"),
            priority: 0,
            held: false,
            etag: String::new(),
        };
        bench.app.create_assignment(&alice(), wish, false).await.unwrap();
        let mut fleet = Self { bench, sessions: BTreeMap::new() };
        for number in 1..=20 {
            let id = fleet.bench.node(number).await;
            let hello = Hello { capabilities: vec!["release-v1".to_owned()], ..hello(ledger(1, 1)) };
            fleet.sessions.insert(id, fleet.bench.hello(id, &hello).unwrap().0);
        }
        fleet.answer(|_| Made::Well);
        fleet
    }

    fn answer(&self, made: impl Fn(NodeId) -> Made) {
        for (id, session) in &self.sessions {
            if let Some(upsert) = self.bench.app.desired(session).upserts.pop() {
                self.say(*id, session, upsert.version, made(*id));
            }
        }
    }

    fn say(&self, id: NodeId, session: &Handle, version: ItemVersion, made: Made) {
        let look = |entry: parking_lot::MutexGuard<'_, crate::app::fleet::Entry>| {
            entry.reported(&ItemName::Release).and_then(|it| it.running.clone())
        };
        let before = self.bench.app.fleet.with(id, look).flatten();
        let step =
            || Progress { step: "probation".to_owned(), percent: 50, since: NOW, message: String::new() };
        let error = || ItemError {
            reason: Some(Reason::NotConfirmed),
            cause: Some(Cause::Content),
            message: "it connected, and died".to_owned(),
            output: String::new(),
        };
        let state = ItemState {
            item: ItemName::Release,
            running: if made == Made::Back { before } else { Some(version.clone()) },
            attempted: Some(version),
            outcome: match made {
                Made::OnTrial => None,
                Made::Well | Made::Ill => Some(Outcome::Applied),
                Made::Back => Some(Outcome::RolledBack),
            },
            error: (made == Made::Back).then(error),
            changed_at: NOW,
            drift: Vec::new(),
            progress: (made == Made::OnTrial).then(step),
            health: (made == Made::Ill).then(|| Health {
                healthy: false,
                message: "ill".to_owned(),
                since: NOW,
            }),
        };
        self.bench
            .app
            .items(session, ItemReport { seq: 1, items: vec![state], complete: false, traces: Vec::new() });
    }

    async fn begin(&self) -> RolloutId {
        let wish = Wish {
            assignment: "agents".to_owned(),
            to: Some(target("0.3.0")),
            plan: plan(Share::Count(1)),
            request_id: String::new(),
            validate_only: false,
        };
        self.bench.app.create_rollout(&alice(), wish).await.unwrap().id
    }

    async fn run(&self, made: impl Fn(NodeId) -> Made) {
        for _ in 0..10 {
            self.bench.app.turn_rollouts().await.unwrap();
            self.answer(&made);
            self.bench.app.clock.advance(std::time::Duration::from_secs(11));
        }
        self.bench.app.turn_rollouts().await.unwrap();
    }

    fn running(&self) -> BTreeMap<String, usize> {
        let mut running = BTreeMap::new();
        self.bench.app.fleet.for_each(|entry| {
            let version = entry.reported(&ItemName::Release).and_then(|state| state.running.as_ref());
            *running.entry(version.map_or("-".to_owned(), |it| it.version.clone())).or_default() += 1;
        });
        running
    }
}

#[tokio::test]
async fn a_release_that_fails_on_two_of_twenty_stops_and_goes_back() {
    let fleet = Fleet::new().await;
    let id = fleet.begin().await;
    // The first two that get it are well, and the two after them are not.
    let bad = std::cell::RefCell::new(Vec::new());
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    fleet
        .run(|node| {
            let (mut bad, mut seen) = (bad.borrow_mut(), seen.borrow_mut());
            if seen.insert(node) && seen.len() > 2 && bad.len() < 2 {
                bad.push(node);
            }
            if bad.contains(&node) { Made::Back } else { Made::Well }
        })
        .await;
    let found = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!(found.rollout.phase, Phase::RolledBack, "{:?}", found.rollout);
    assert_eq!(found.failures, [("NOT_CONFIRMED".to_owned(), 2)].into());
    assert_eq!(fleet.running(), [("0.2.0".to_owned(), 20)].into());
    assert!(found.rollout.message.contains("2 nodes failed, 1 are borne"), "{}", found.rollout.message);
}

#[tokio::test]
async fn a_release_goes_out_only_where_there_is_a_way_back() {
    let fleet = Fleet::new().await;
    let wish = |assignment: &str, to: Option<Target>| Wish {
        assignment: assignment.to_owned(),
        to,
        plan: plan(Share::Count(1)),
        request_id: String::new(),
        validate_only: false,
    };
    let held = assignments::Wish {
        name: "held".to_owned(),
        selector: "*".to_owned(),
        exclusions: Vec::new(),
        target: target("0.3.0"),
        priority: 1,
        held: true,
        etag: String::new(),
    };
    let (app, by) = (&fleet.bench.app, alice());
    app.create_assignment(&by, held, false).await.unwrap();
    let refused = app.create_rollout(&by, wish("held", Some(target("0.3.0")))).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::StateConflict, .. }), "{refused}");
    let refused = app.create_rollout(&by, wish("agents", None)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
}

#[tokio::test]
async fn what_is_on_trial_has_not_passed_though_it_runs() {
    let fleet = Fleet::new().await;
    let id = fleet.begin().await;
    fleet.run(|_| Made::OnTrial).await;
    let found = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!((found.rollout.step, found.waits_for), (0, Some(Hold::Answers { count: 2 })));
    let node = *fleet.sessions.keys().find(|node| running(&fleet, **node) == "0.3.0").unwrap();
    let view = fleet.bench.app.node(&whole(), node).unwrap();
    let version = view.desired[0].1.clone();
    fleet.say(node, &fleet.sessions[&node], version, Made::Back);
    let standing = fleet.bench.app.rollout_nodes(&whole(), id).await.unwrap();
    assert_eq!(standing.iter().filter(|it| it.standing == Standing::Failed).count(), 1);
}

#[tokio::test]
async fn what_falls_ill_in_the_soak_counts_as_failed() {
    let fleet = Fleet::new().await;
    let id = fleet.begin().await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    fleet.answer(|_| Made::Well);
    fleet.bench.app.turn_rollouts().await.unwrap();
    let found = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert!(matches!(found.waits_for, Some(Hold::Soak { .. })), "{:?}", found.waits_for);
    for (node, session) in &fleet.sessions {
        if running(&fleet, *node) == "0.3.0" {
            let version = fleet.bench.app.node(&whole(), *node).unwrap().desired[0].1.clone();
            fleet.say(*node, session, version, Made::Ill);
        }
    }
    fleet.bench.app.turn_rollouts().await.unwrap();
    let found = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!((found.rollout.phase, found.failures.len()), (Phase::Running, 0), "it may be a flap");
    fleet.bench.app.clock.advance(std::time::Duration::from_secs(2 * 60));
    fleet.bench.app.turn_rollouts().await.unwrap();
    let found = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert!(matches!(found.rollout.phase, Phase::RollingBack | Phase::RolledBack), "{:?}", found.rollout);
    assert_eq!(found.failures, [("ITEM_UNHEALTHY".to_owned(), 2)].into());
}

fn running(fleet: &Fleet, node: NodeId) -> String {
    let view = fleet.bench.app.node(&whole(), node).unwrap();
    let running = view.node.items.iter().find_map(|it| it.running.clone());
    running.map(|it| it.version).unwrap_or_default()
}
