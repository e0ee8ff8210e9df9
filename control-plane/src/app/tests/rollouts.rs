//! Rollouts over a fleet that answers as it is told.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use muster_common::{
    digest::Sha256,
    ids::{NodeId, RolloutId},
    reason::Reason,
};
use muster_domain::{
    access::{Permission, Scope},
    assignment::Target,
    bundle::Bundle,
    item::{Cause, ItemError, ItemName, ItemState, Outcome},
    rollout::{Hold, OnFailure, Phase, Plan, Portion, Share, Speed, Standing, Step, Wish as Asked},
};
use muster_store::WriteBundles as _;

use super::bench::{Bench, NOW, actor, alice, hello, ledger, whole};
use crate::{
    app::{Error, assignments, fleet::Entry, rollouts::Wish},
    session::{
        frames::{Hello, ItemReport},
        hub::Handle,
        ports::{Desk as _, Inbox as _},
    },
};

const NODES: u128 = 20;

/// Twenty connected nodes that run the first version of a bundle, and a second one.
pub(super) struct Fleet {
    pub(super) bench: Bench,
    pub(super) sessions: BTreeMap<NodeId, Handle>,
}

fn payload(version: u64) -> Bytes {
    Bytes::from(format!("{{\"version\":{version}}}"))
}

pub(super) fn version(version: u64) -> Target {
    Target::Bundle { name: "web".to_owned(), version }
}

pub(super) fn assignment(held: bool) -> assignments::Wish {
    assignments::Wish {
        name: "web".to_owned(),
        selector: "*".to_owned(),
        exclusions: Vec::new(),
        target: version(1),
        priority: 0,
        held,
        etag: String::new(),
    }
}

pub(super) fn plan(max_failed: Share) -> Plan {
    let step = |reach| Step { reach, soak: Duration::from_secs(10), approval: false };
    let steps = vec![step(Portion::Percent(10)), step(Portion::Percent(50)), step(Portion::Percent(100))];
    Plan { steps, max_failed, max_in_flight: 0, ..Speed::Normal.plan() }
}

impl Fleet {
    pub(super) async fn new(held: bool) -> Self {
        let bench = Bench::following().await;
        bench
            .write(|tx| {
                for number in 1..=3 {
                    let (bytes, name) = (payload(number), "web".to_owned());
                    let bundle = Bundle {
                        name,
                        version: number,
                        sha256: Sha256::of(&bytes),
                        size_bytes: bytes.len() as u64,
                        created_at: NOW,
                        created_by: "operator/alice".to_owned(),
                    };
                    tx.bundle_insert(&bundle, &bytes)?;
                }
                Ok(())
            })
            .await;
        bench.app.create_assignment(&alice(), assignment(held), false).await.unwrap();
        let mut fleet = Self { bench, sessions: BTreeMap::new() };
        for number in 1..=NODES {
            let id = fleet.bench.node(number).await;
            fleet.connect(id);
        }
        fleet.answer(|_| true);
        fleet
    }

    fn connect(&mut self, id: NodeId) {
        let known = self.sessions.get(&id).map(|_| self.bench.app.node(&whole(), id).unwrap().node.items);
        let hello = Hello {
            capabilities: vec!["bundle".to_owned(), "settings".to_owned()],
            sealing_key: vec![7; 32],
            items: known.unwrap_or_default(),
            ..hello(ledger(1, 1))
        };
        let (session, _) = self.bench.hello(id, &hello).unwrap();
        self.sessions.insert(id, session);
    }

    /// Every node that is offered something, and does not rest, says what became of it.
    pub(super) fn answer(&self, good: impl Fn(NodeId) -> bool) {
        let rests = |entry: parking_lot::MutexGuard<'_, Entry>| {
            entry.conditions.iter().any(|it| it.kind == "Paused" && it.holds == Some(true))
        };
        for (id, session) in &self.sessions {
            if self.bench.app.fleet.with(*id, rests).unwrap() {
                continue;
            }
            let desired = self.bench.app.desired(session);
            let mut items: Vec<ItemState> = Vec::new();
            for upsert in desired.upserts {
                let running = |entry: parking_lot::MutexGuard<'_, Entry>| {
                    entry.reported(&upsert.item).and_then(|it| it.running.clone())
                };
                let running = self.bench.app.fleet.with(*id, running);
                let (is_good, version) = (good(*id), upsert.version);
                items.push(ItemState {
                    item: upsert.item,
                    running: if is_good { Some(version.clone()) } else { running.flatten() },
                    attempted: Some(version),
                    outcome: Some(if is_good { Outcome::Applied } else { Outcome::RolledBack }),
                    error: (!is_good).then(|| error(Reason::ProbeFailed, Cause::Content)),
                    changed_at: NOW,
                    drift: Vec::new(),
                    progress: None,
                    health: None,
                });
            }
            for removal in desired.removals {
                items.push(ItemState {
                    item: removal.item,
                    running: None,
                    attempted: None,
                    outcome: Some(Outcome::Removed),
                    error: None,
                    changed_at: NOW,
                    drift: Vec::new(),
                    progress: None,
                    health: None,
                });
            }
            if !items.is_empty() {
                self.bench
                    .app
                    .items(session, ItemReport { seq: 1, items, complete: false, traces: Vec::new() });
            }
        }
    }

    pub(super) async fn begin(&self, to: Option<Target>, plan: Plan) -> RolloutId {
        let wish =
            Wish { assignment: "web".to_owned(), to, plan, request_id: String::new(), validate_only: false };
        self.bench.app.create_rollout(&alice(), wish).await.unwrap().id
    }

    /// Looks, answers and lets time pass until nothing happens any more.
    pub(super) async fn run(&self, good: impl Fn(NodeId) -> bool) {
        for _ in 0..10 {
            self.bench.app.turn_rollouts().await.unwrap();
            self.answer(&good);
            self.bench.app.clock.advance(Duration::from_secs(11));
        }
        self.bench.app.turn_rollouts().await.unwrap();
    }

    async fn phase(&self, id: RolloutId) -> Phase {
        self.bench.app.rollout(&whole(), id).await.unwrap().rollout.phase
    }

    pub(super) async fn ask(&self, id: RolloutId, asked: Asked) -> Result<Phase, Option<Reason>> {
        let asked = self.bench.app.ask_rollout(&alice(), id, asked, String::new()).await;
        asked.map(|rollout| rollout.phase).map_err(|error| match error {
            Error::Refused { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// How many nodes run which version.
    fn running(&self) -> BTreeMap<String, usize> {
        let mut running = BTreeMap::new();
        self.bench.app.fleet.for_each(|entry| {
            let version = entry.reported(&item()).and_then(|state| state.running.as_ref());
            *running.entry(version.map_or("-".to_owned(), |it| it.version.clone())).or_default() += 1;
        });
        running
    }

    /// How many nodes should have which version.
    fn wanted(&self) -> BTreeMap<String, usize> {
        let mut wanted = BTreeMap::new();
        for id in self.sessions.keys() {
            let view = self.bench.app.node(&whole(), *id).unwrap();
            let version = view.desired.first().map_or("-".to_owned(), |(_, version)| version.version.clone());
            *wanted.entry(version).or_default() += 1;
        }
        wanted
    }
}

pub(super) fn item() -> ItemName {
    ItemName::Bundle("web".to_owned())
}

pub(super) fn error(reason: Reason, cause: Cause) -> ItemError {
    ItemError { reason: Some(reason), cause: Some(cause), message: String::new(), output: String::new() }
}

fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(version, count)| ((*version).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_good_change_reaches_all_step_by_step_and_becomes_the_assignments_own() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(fleet.wanted(), counts(&[("1", 18), ("2", 2)]));
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!((seen.tally.touched, seen.waits_for), (2, Some(Hold::Answers { count: 2 })));
    fleet.answer(|_| true);
    fleet.bench.app.turn_rollouts().await.unwrap();
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert!(matches!(seen.waits_for, Some(Hold::Soak { .. })), "{:?}", seen.waits_for);
    fleet.run(|_| true).await;
    assert_eq!(fleet.phase(id).await, Phase::Succeeded);
    assert_eq!(fleet.running(), counts(&[("2", 20)]));
    let (assignment, _) = fleet.bench.app.assignment(&whole(), "web".to_owned()).await.unwrap();
    assert_eq!((assignment.target, assignment.staged.rollout), (version(2), None));
    fleet.bench.app.prune().await.unwrap();
    assert!(fleet.bench.stored(NodeId::from_u128(1)).await.touches.is_empty());
}

#[tokio::test]
async fn a_bad_change_stops_at_its_threshold_and_is_gone_everywhere() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(1))).await;
    let bad = |node: NodeId| node.to_string().ends_with(['3', '7', '9']);
    fleet.run(|node| !bad(node)).await;
    assert_eq!(fleet.phase(id).await, Phase::RolledBack);
    assert_eq!(fleet.running(), counts(&[("1", 20)]));
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!(seen.rollout.reason, "TooManyFailed");
    assert!(seen.rollout.message.contains("PROBE_FAILED: "), "{}", seen.rollout.message);
    assert!(seen.tally.failed > 1, "{:?}", seen.tally);
    // The next change is a rollout like any other.
    let id = fleet.begin(Some(version(3)), plan(Share::Count(0))).await;
    fleet.run(|_| true).await;
    assert_eq!((fleet.phase(id).await, fleet.running()), (Phase::Succeeded, counts(&[("3", 20)])));
}

#[tokio::test]
async fn what_the_network_did_does_not_count_against_a_change() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    for (node, session) in &fleet.sessions {
        for upsert in fleet.bench.app.desired(session).upserts {
            let state = ItemState {
                item: upsert.item,
                running: None,
                attempted: Some(upsert.version),
                outcome: Some(Outcome::Rejected),
                error: Some(error(Reason::PayloadCorrupt, Cause::Network)),
                changed_at: NOW,
                drift: Vec::new(),
                progress: None,
                health: None,
            };
            fleet.bench.app.items(
                session,
                ItemReport { seq: 1, items: vec![state], complete: false, traces: Vec::new() },
            );
            let standing = fleet.bench.app.rollout_nodes(&whole(), id).await.unwrap();
            let ours = standing.iter().find(|it| it.node == *node).unwrap();
            assert!(matches!(ours.standing, Standing::Given { .. }), "{ours:?}");
        }
    }
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(fleet.phase(id).await, Phase::Running);
}

#[tokio::test]
async fn a_rollout_is_paused_resumed_aborted_and_rolled_back_by_hand() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    assert_eq!(fleet.ask(id, Asked::Pause).await, Ok(Phase::Paused));
    fleet.run(|_| true).await;
    assert_eq!(fleet.running(), counts(&[("1", 20)]), "nobody is touched while it is paused");
    assert_eq!(fleet.ask(id, Asked::Resume).await, Ok(Phase::Running));
    fleet.bench.app.turn_rollouts().await.unwrap();
    fleet.answer(|_| true);
    assert_eq!(fleet.ask(id, Asked::Abort).await, Ok(Phase::Aborted));
    fleet.run(|_| true).await;
    assert_eq!(fleet.running(), counts(&[("1", 18), ("2", 2)]), "who has it keeps it");
    assert_eq!(fleet.ask(id, Asked::Resume).await, Err(Some(Reason::StateConflict)));
    // Something else over it, and back: each returns to what it had.
    let second = fleet.begin(Some(version(3)), plan(Share::Count(0))).await;
    assert_eq!(fleet.ask(id, Asked::RollBack).await, Err(Some(Reason::StateConflict)));
    fleet.run(|_| true).await;
    assert_eq!((fleet.phase(second).await, fleet.running()), (Phase::Succeeded, counts(&[("3", 20)])));
}

#[tokio::test]
async fn an_aborted_rollout_can_still_be_rolled_back() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    fleet.answer(|_| true);
    fleet.ask(id, Asked::Abort).await.unwrap();
    assert_eq!(fleet.ask(id, Asked::RollBack).await, Ok(Phase::RollingBack));
    fleet.run(|_| true).await;
    assert_eq!((fleet.phase(id).await, fleet.running()), (Phase::RolledBack, counts(&[("1", 20)])));
    assert_eq!(fleet.ask(id, Asked::RollBack).await, Ok(Phase::RolledBack), "it is so already");
}

#[tokio::test]
async fn something_new_comes_and_goes_in_steps() {
    let fleet = Fleet::new(true).await;
    assert_eq!(fleet.running(), counts(&[("-", 20)]), "a held assignment gives nothing");
    // Nor does it by an update that does not speak of that.
    let update = assignments::Wish { selector: "!canary".to_owned(), ..assignment(false) };
    fleet.bench.app.update_assignment(&alice(), update.clone(), false).await.unwrap();
    let other = assignments::Wish { target: version(2), ..update.clone() };
    fleet.bench.app.update_assignment(&alice(), other, false).await.unwrap();
    fleet.bench.app.update_assignment(&alice(), update, false).await.unwrap();
    assert_eq!(fleet.wanted(), counts(&[("-", 20)]));
    let id = fleet.begin(Some(version(1)), plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(fleet.wanted(), counts(&[("-", 18), ("1", 2)]));
    fleet.run(|_| true).await;
    assert_eq!((fleet.phase(id).await, fleet.running()), (Phase::Succeeded, counts(&[("1", 20)])));
    let id = fleet.begin(None, plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(fleet.wanted(), counts(&[("-", 2), ("1", 18)]));
    fleet.run(|_| true).await;
    assert_eq!((fleet.phase(id).await, fleet.running()), (Phase::Succeeded, counts(&[("-", 20)])));
}

#[tokio::test]
async fn the_brake_holds_all_rollouts_and_nothing_that_goes_back() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    fleet.answer(|_| true);
    fleet.bench.app.set_rollout_brake(&alice(), true, "an incident".to_owned()).await.unwrap();
    fleet.run(|_| true).await;
    assert_eq!(fleet.running(), counts(&[("1", 18), ("2", 2)]));
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!(seen.waits_for, Some(Hold::Brake));
    fleet.ask(id, Asked::RollBack).await.unwrap();
    fleet.run(|_| true).await;
    assert_eq!((fleet.phase(id).await, fleet.running()), (Phase::RolledBack, counts(&[("1", 20)])));
    assert!(fleet.bench.app.set_rollout_brake(&alice(), false, String::new()).await.unwrap().is_none());
}

#[tokio::test]
async fn one_assignment_has_one_rollout_and_changes_by_nothing_else_meanwhile() {
    let fleet = Fleet::new(false).await;
    let app = &fleet.bench.app;
    let wish = |to, request: &str| Wish {
        assignment: "web".to_owned(),
        to: Some(version(to)),
        plan: plan(Share::Count(0)),
        request_id: request.to_owned(),
        validate_only: false,
    };
    let reason = |error: Error| match error {
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => Some(reason),
        _ => None,
    };
    let preview = app.create_rollout(&alice(), Wish { validate_only: true, ..wish(2, "") }).await.unwrap();
    assert_eq!(app.seen(preview).await.tally.total, 20);
    let same = app.create_rollout(&alice(), wish(1, "")).await.map_err(reason);
    assert_eq!(same.map(|it| it.id), Err(Some(Reason::StateConflict)));
    let first = app.create_rollout(&alice(), wish(2, "r")).await.unwrap();
    let again = app.create_rollout(&alice(), wish(2, "r")).await.unwrap();
    assert_eq!(first.id, again.id);
    let other = app.create_rollout(&alice(), wish(3, "r")).await.map_err(reason);
    assert_eq!(other.map(|it| it.id), Err(Some(Reason::RequestIdReused)));
    let second = app.create_rollout(&alice(), wish(3, "")).await.map_err(reason);
    assert_eq!(second.map(|it| it.id), Err(Some(Reason::StateConflict)));
    let update = assignments::Wish { target: version(3), ..assignment(false) };
    let update = app.update_assignment(&alice(), update, false).await.map_err(reason);
    assert_eq!(update.map(|it| it.revision), Err(Some(Reason::StateConflict)));
    let delete = app.delete_assignment(&alice(), "web".to_owned(), String::new()).await.map_err(reason);
    assert_eq!(delete, Err(Some(Reason::StateConflict)));
    let deleted = app.delete_bundle(&alice(), "web".to_owned(), 2).await.map_err(reason);
    assert_eq!(deleted, Err(Some(Reason::InUse)), "what it brings is in use");
    // Whom it reaches may change at any time.
    let fewer = assignments::Wish { selector: "env=prod".to_owned(), ..assignment(false) };
    app.update_assignment(&alice(), fewer, false).await.unwrap();
    assert_eq!(app.rollout(&whole(), first.id).await.unwrap().tally.total, 0);
    // Who may not change the assignment may not change its rollout.
    let some =
        Scope { reach: "env=test".parse().unwrap(), ..Scope::whole("operator/bob", Permission::Deploy) };
    let bob = actor("operator/bob", some);
    let denied = app.ask_rollout(&bob, first.id, Asked::Abort, String::new()).await.map_err(reason);
    assert_eq!(denied.map(|it| it.phase), Err(None), "nothing of it is in the scope: it is not there");
}

#[tokio::test]
async fn too_many_failures_can_wait_for_a_person_instead() {
    let fleet = Fleet::new(false).await;
    let pausing = Plan { on_failure: OnFailure::Pause, ..plan(Share::Count(0)) };
    let id = fleet.begin(Some(version(2)), pausing).await;
    fleet.run(|_| false).await;
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!((seen.rollout.phase, seen.rollout.reason.as_str()), (Phase::Paused, "TooManyFailed"));
    assert_eq!((seen.tally.failed, seen.failures), (2, counts(&[("PROBE_FAILED", 2)])));
}

#[tokio::test]
async fn a_node_for_which_a_stronger_assignment_decides_says_nothing_of_a_change() {
    let fleet = Fleet::new(false).await;
    let stronger = assignments::Wish { name: "pinned".to_owned(), priority: 9, ..assignment(false) };
    let stronger = assignments::Wish { target: version(3), ..stronger };
    fleet.bench.app.create_assignment(&alice(), stronger, false).await.unwrap();
    fleet.answer(|_| true);
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.run(|_| true).await;
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!((seen.tally.excused, seen.tally.done), (20, 0));
    assert_eq!(seen.waits_for, Some(Hold::Nobody), "nobody has lived through it");
}

#[tokio::test]
async fn a_step_is_approved_once_and_not_before_it_is_there() {
    let fleet = Fleet::new(false).await;
    let mut asking = plan(Share::Count(0));
    asking.steps.iter_mut().for_each(|step| step.approval = true);
    let id = fleet.begin(Some(version(2)), asking).await;
    assert_eq!(fleet.ask(id, Asked::Approve(2)).await, Err(Some(Reason::StateConflict)));
    fleet.ask(id, Asked::Approve(1)).await.unwrap();
    fleet.run(|_| true).await;
    // The same yes again is not one to the next step.
    fleet.ask(id, Asked::Approve(1)).await.unwrap();
    fleet.run(|_| true).await;
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!((seen.rollout.step, seen.waits_for), (1, Some(Hold::Approval)));
}

#[tokio::test]
async fn a_change_that_stops_agents_does_not_go_through_the_fleet() {
    let fleet = Fleet::new(false).await;
    let one = Plan { max_in_flight: 1, ..Speed::Emergency.plan() };
    let id = fleet.begin(Some(version(2)), Plan { max_failed: Share::Count(0), ..one }).await;
    for _ in 0..3 {
        fleet.bench.app.turn_rollouts().await.unwrap();
        for session in fleet.sessions.values().filter(|it| !fleet.bench.app.desired(it).upserts.is_empty()) {
            let stopped = muster_domain::liveness::Closed::Stopped;
            fleet.bench.app.closed(session, &crate::session::ports::Closed::Goodbye(stopped));
        }
    }
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap();
    assert_eq!((seen.tally.touched, seen.tally.waiting), (1, 1));
    fleet.bench.app.clock.advance(Duration::from_secs(16 * 60));
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert!(matches!(fleet.phase(id).await, Phase::RollingBack | Phase::RolledBack));
}
