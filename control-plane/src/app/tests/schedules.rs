//! Operations that start by themselves.

use std::time::Duration;

use muster_common::{clock::UnixMillis, reason::Reason};
use muster_domain::{
    access::{Permission, Reach, Scope},
    facts::Facts,
    operation::Operation,
    schedule::{Fire, Outcome},
};
use muster_store::{ReadSchedules as _, WriteAccess as _, WriteNodes as _, WriteSchedules as _};

use super::bench::{Bench, NOW, actor, alice, whole};
use crate::app::{
    Actor, Error,
    schedules::{Planned, View, Wish},
};

const MINUTE: Duration = Duration::from_secs(60);
/// 22:00, a quarter of an hour before the bench begins.
const TEN: UnixMillis = UnixMillis(NOW.0 - 800_000);
const HOUR: Duration = Duration::from_secs(3600);

fn hourly(name: &str) -> Wish {
    Wish {
        name: name.to_owned(),
        cron: "0 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        operation: bytes::Bytes::from_static(b"*"),
        paused: false,
        catch_up: None,
        overlap: true,
        etag: String::new(),
    }
}

fn facts(zone: &str) -> Facts {
    Facts { timezone: zone.to_owned(), agent_version: "1.2.0".to_owned(), ..Facts::default() }
}

impl Bench {
    /// Goes on to this moment, and looks once as a worker that has just started.
    async fn look_at(&self, at: UnixMillis) {
        let now = self.app.clock.now();
        self.app.clock.advance(at.since(now));
        self.app.run_schedules(&mut Planned::default()).await.unwrap();
    }

    async fn scheduled(&self) -> Vec<Operation> {
        let page = muster_domain::page::Page { size: 100, after: None };
        let listed = self.app.operations(&whole(), page).await.unwrap().rows;
        let mut all: Vec<Operation> = listed.into_iter().map(|(operation, _)| operation).collect();
        all.retain(|operation| !operation.schedule.is_empty());
        all.reverse();
        all
    }

    async fn view(&self, name: &str) -> View {
        self.app.schedule(&whole(), name.to_owned()).await.unwrap()
    }

    async fn outcomes(&self, name: &str) -> Vec<(UnixMillis, Outcome)> {
        let told = |fire: &Fire| (fire.at, fire.outcome);
        self.view(name).await.fires.iter().rev().map(told).collect()
    }

    /// A node with this time zone.
    async fn node_in(&self, number: u128, zone: &str) {
        let (id, facts) = (self.node(number).await, facts(zone));
        self.write(move |tx| Ok(tx.node_set_facts(id, &facts, b"facts", true)?)).await;
        self.app.reload_nodes(vec![id]).await.unwrap();
    }
}

#[tokio::test]
async fn each_time_starts_one_operation_however_often_it_is_looked_at() {
    let bench = Bench::following().await;
    bench.node(1).await;
    let made = bench.app.create_schedule(&alice(), hourly("report"), false).await.unwrap();
    assert_eq!(made.next[0].at, TEN + HOUR);
    bench.look_at(TEN + MINUTE * 30).await;
    assert_eq!(bench.scheduled().await, []);
    let (mut one, mut other) = (Planned::default(), Planned::default());
    bench.app.run_schedules(&mut one).await.unwrap();
    bench.app.run_schedules(&mut other).await.unwrap();
    bench.app.clock.advance(MINUTE * 31);
    // Both knew before that it would be due, and neither that the other has done it.
    bench.app.run_schedules(&mut one).await.unwrap();
    bench.app.run_schedules(&mut other).await.unwrap();
    bench.app.run_schedules(&mut one).await.unwrap();
    let started = bench.scheduled().await;
    assert_eq!(started.len(), 1);
    assert_eq!((started[0].schedule.as_str(), started[0].created_by.as_str()), ("report", "operator/alice"));
    let view = bench.view("report").await;
    assert_eq!(view.fires[0].operation, Some(started[0].id));
    assert_eq!((view.fires[0].at, view.next[0].at), (TEN + HOUR, TEN + HOUR * 2));
    bench.look_at(TEN + HOUR * 2).await;
    assert_eq!(bench.scheduled().await.len(), 2);
}

#[tokio::test]
async fn what_was_missed_for_long_is_left_out_and_of_several_times_the_last_is_made_up_for() {
    let bench = Bench::following().await;
    bench.node(1).await;
    bench.app.create_schedule(&alice(), hourly("report"), false).await.unwrap();
    bench.look_at(TEN + HOUR * 3 + MINUTE * 5).await;
    assert_eq!(bench.outcomes("report").await, [(TEN + HOUR * 3, Outcome::Started)]);
    bench.look_at(TEN + HOUR * 5 + MINUTE * 30).await;
    let missed = (TEN + HOUR * 4, Outcome::Missed);
    assert_eq!(bench.outcomes("report").await, [(TEN + HOUR * 3, Outcome::Started), missed]);
    bench.look_at(TEN + HOUR * 6).await;
    assert_eq!(bench.outcomes("report").await[2], (TEN + HOUR * 6, Outcome::Started));
    assert_eq!(bench.scheduled().await.len(), 2);
}

#[tokio::test]
async fn a_paused_schedule_starts_nothing_and_makes_up_for_nothing() {
    let bench = Bench::following().await;
    bench.node(1).await;
    let paused = Wish { paused: true, ..hourly("report") };
    assert_eq!(bench.app.create_schedule(&alice(), paused, false).await.unwrap().next, []);
    bench.look_at(TEN + HOUR + MINUTE).await;
    bench.app.update_schedule(&alice(), hourly("report"), false).await.unwrap();
    bench.look_at(TEN + HOUR + MINUTE * 2).await;
    assert_eq!(bench.outcomes("report").await, []);
    bench.look_at(TEN + HOUR * 2).await;
    assert_eq!(bench.outcomes("report").await, [(TEN + HOUR * 2, Outcome::Started)]);
}

#[tokio::test]
async fn nothing_starts_while_the_last_one_goes_on_unless_that_is_wanted() {
    let bench = Bench::following().await;
    bench.node(1).await;
    let alone = Wish { overlap: false, ..hourly("alone") };
    bench.app.create_schedule(&alice(), alone, false).await.unwrap();
    bench.app.create_schedule(&alice(), hourly("beside"), false).await.unwrap();
    bench.look_at(TEN + HOUR).await;
    bench.look_at(TEN + HOUR * 2).await;
    let first = (TEN + HOUR, Outcome::Started);
    assert_eq!(bench.outcomes("alone").await, [first, (TEN + HOUR * 2, Outcome::Overlapped)]);
    assert_eq!(bench.outcomes("beside").await, [first, (TEN + HOUR * 2, Outcome::Started)]);
    let last = bench.view("alone").await.fires[1].operation.unwrap();
    bench.app.cancel_operation(&alice(), last, String::new(), false).await.unwrap();
    bench.look_at(TEN + HOUR * 3).await;
    assert_eq!(bench.outcomes("alone").await[2], (TEN + HOUR * 3, Outcome::Started));
}

#[tokio::test]
async fn a_schedule_has_the_rights_that_its_owner_has_when_it_starts() {
    let bench = Bench::following().await;
    bench.node(1).await;
    bench.app.create_schedule(&alice(), hourly("report"), false).await.unwrap();
    bench.look_at(TEN + HOUR).await;
    bench.write(|tx| Ok(tx.binding_delete("operator/alice")?)).await;
    bench.app.follow().await.unwrap();
    bench.look_at(TEN + HOUR * 2).await;
    let view = bench.view("report").await;
    assert_eq!(view.fires[0].outcome, Outcome::Refused);
    assert!(view.last_error().starts_with("operator/alice, who owns the schedule, may not"), "{view:?}");
    assert_eq!(bench.scheduled().await.len(), 1);
}

#[tokio::test]
async fn a_node_that_is_away_does_not_keep_a_daily_schedule_from_its_next_day() {
    let bench = Bench::following().await;
    bench.node(1).await; // never here
    let daily = Wish { cron: "0 22 * * *".to_owned(), overlap: false, ..hourly("daily") };
    bench.app.create_schedule(&alice(), daily, false).await.unwrap();
    let day = HOUR * 24;
    bench.look_at(TEN + day).await;
    bench.app.clock.advance(day - MINUTE / 2);
    assert_eq!(bench.app.expire_commands().await.unwrap(), 1);
    bench.look_at(TEN + day * 2).await;
    let started = |days| (TEN + day * days, Outcome::Started);
    assert_eq!(bench.outcomes("daily").await, [started(1), started(2)]);
    let operation = &bench.scheduled().await[1];
    assert_eq!(operation.deliver_by, TEN + day * 3 - MINUTE);
    // Late, it has so much less.
    bench.app.clock.advance(day - MINUTE / 2);
    bench.app.expire_commands().await.unwrap();
    bench.look_at(TEN + day * 3 + MINUTE * 5).await;
    assert_eq!(bench.scheduled().await[2].deliver_by, TEN + day * 4 - MINUTE);
}

#[tokio::test]
async fn one_that_fails_keeps_no_other_from_its_time() {
    let bench = Bench::following().await;
    bench.node(1).await;
    let nobody = Wish { operation: bytes::Bytes::from_static(b"env=none"), ..hourly("bad") };
    for wish in [nobody, hourly("good")] {
        bench.app.create_schedule(&alice(), wish, false).await.unwrap();
    }
    // What becomes of its time cannot be written down: there is something else already.
    let at = TEN + HOUR;
    bench
        .write(move |tx| {
            let (schedule, zone) = ("bad".to_owned(), "UTC".to_owned());
            let (outcome, message) = (Outcome::Missed, String::new());
            Ok(tx.schedule_settle(&Fire { schedule, zone, at, outcome, operation: None, message }, TEN)?)
        })
        .await;
    bench.app.clock.advance(at.since(bench.app.clock.now()));
    let failed = bench.app.run_schedules(&mut Planned::default()).await.unwrap_err();
    assert!(matches!(failed, Error::Store(_)), "{failed}");
    assert_eq!(bench.outcomes("good").await, [(at, Outcome::Started)]);
}

#[tokio::test]
async fn hosts_start_by_their_own_clocks() {
    let bench = Bench::following().await;
    for (number, zone) in [(1, "Asia/Kolkata"), (2, "Europe/Berlin"), (3, "Europe/Berlin"), (4, "nowhere")] {
        bench.node_in(number, zone).await;
    }
    // 22:13 UTC is 23:13 in Berlin, and 03:43 in Kolkata.
    let wish = Wish { cron: "30 * * * *".to_owned(), time_zone: "host".to_owned(), ..hourly("half") };
    let made = bench.app.create_schedule(&alice(), wish, false).await.unwrap();
    let next: Vec<(i64, &str)> =
        made.next.iter().map(|time| ((time.at.0 - TEN.0) / 60_000, time.zone.as_str())).collect();
    assert_eq!(next, [(30, "Europe/Berlin"), (30, "unknown"), (60, "Asia/Kolkata")]);
    bench.look_at(TEN + MINUTE * 31).await;
    let selectors = |all: &[Operation]| {
        let mut of: Vec<(String, u32)> = all.iter().map(|it| (it.selector.clone(), it.total)).collect();
        of.sort();
        of
    };
    let berlin = ("facts.timezone=Europe/Berlin".to_owned(), 2);
    let unknown = ("facts.agent-version,facts.timezone notin (Asia/Kolkata,Europe/Berlin)".to_owned(), 1);
    assert_eq!(selectors(&bench.scheduled().await), [unknown, berlin]);
    bench.look_at(TEN + MINUTE * 61).await;
    let last = bench.scheduled().await.pop().unwrap();
    assert_eq!(last.selector, "facts.timezone=Asia/Kolkata");
}

#[tokio::test]
async fn a_clock_that_comes_later_begins_then_and_a_node_without_facts_has_none() {
    let bench = Bench::following().await;
    bench.node_in(1, "Europe/Berlin").await;
    let wish = Wish { cron: "0 * * * *".to_owned(), time_zone: "host".to_owned(), ..hourly("full") };
    bench.app.create_schedule(&alice(), wish, false).await.unwrap();
    bench.look_at(TEN + MINUTE * 20).await;
    // Both were enrolled a moment after the time; the one has not told anything yet.
    bench.node(2).await;
    bench.look_at(TEN + HOUR + MINUTE).await;
    bench.node_in(3, "nowhere").await;
    bench.look_at(TEN + HOUR + MINUTE * 2).await;
    let zones = async || -> Vec<String> {
        let places = bench.app.store.read(|tx| Ok::<_, Error>(tx.schedule_place_all()?)).await.unwrap();
        places.into_iter().map(|place| place.zone).collect()
    };
    assert_eq!(zones().await, ["Europe/Berlin", "host", "unknown"]);
    let started: Vec<(String, u32)> =
        bench.scheduled().await.into_iter().map(|it| (it.selector, it.total)).collect();
    assert_eq!(started, [("facts.timezone=Europe/Berlin".to_owned(), 1)]);
    // Its first time is the next one, also if nobody looked between.
    bench.look_at(TEN + HOUR * 2).await;
    let mut totals: Vec<u32> = bench.scheduled().await[1..].iter().map(|it| it.total).collect();
    totals.sort_unstable();
    assert_eq!(totals, [1, 1], "the one without facts is in neither");
    // What nobody tells any more is forgotten.
    let id = muster_common::ids::NodeId::from_u128(3);
    bench.write(move |tx| Ok(tx.node_set_facts(id, &facts("Europe/Berlin"), b"other", true)?)).await;
    bench.app.reload_nodes(vec![id]).await.unwrap();
    bench.look_at(TEN + HOUR * 2 + MINUTE).await;
    assert_eq!(zones().await, ["Europe/Berlin", "host"]);
}

#[tokio::test]
async fn without_a_node_nothing_is_started() {
    let bench = Bench::following().await;
    bench.app.create_schedule(&alice(), hourly("report"), false).await.unwrap();
    bench.look_at(TEN + HOUR).await;
    assert_eq!(bench.outcomes("report").await, [(TEN + HOUR, Outcome::NoNodes)]);
    assert_eq!(bench.scheduled().await, []);
}

fn of(principal: &str, selector: &str) -> Actor {
    let reach = Reach::of([selector.parse().unwrap()]);
    let scope = Scope { principal: principal.to_owned(), permission: Permission::Command, reach };
    actor(principal, scope)
}

fn reason(refused: Result<impl std::fmt::Debug, Error>) -> Reason {
    match refused.unwrap_err() {
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => reason,
        Error::NotFound { .. } => Reason::NotFound,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_schedule_is_its_owners_and_of_who_may_touch_every_node() {
    let bench = Bench::following().await;
    bench.node(1).await;
    let bob = of("operator/bob", "env=test");
    bench.app.create_schedule(&alice(), hourly("report"), false).await.unwrap();
    let other = Wish { cron: "5 * * * *".to_owned(), ..hourly("report") };
    assert_eq!(reason(bench.app.create_schedule(&bob, other.clone(), false).await), Reason::AlreadyExists);
    let delete =
        async |actor| reason(bench.app.delete_schedule(actor, "report".to_owned(), String::new()).await);
    let update = async |actor| reason(bench.app.update_schedule(actor, other.clone(), false).await);
    let sees = of("operator/carol", "!none");
    assert_eq!(
        (update(&sees).await, delete(&sees).await),
        (Reason::PermissionDenied, Reason::PermissionDenied)
    );
    assert_eq!((update(&bob).await, delete(&bob).await), (Reason::NotFound, Reason::NotFound), "not shown");
    assert_eq!(reason(bench.app.schedule(&bob.scope, "report".to_owned()).await), Reason::NotFound);
    bench.app.create_schedule(&bob, Wish { name: "bobs".to_owned(), ..other.clone() }, false).await.unwrap();
    let page = || muster_domain::page::Page { size: 10, after: None };
    let names = async |scope: &Scope| -> Vec<String> {
        let listed = bench.app.schedules(scope, page()).await.unwrap().rows;
        listed.into_iter().map(|view| view.schedule.name).collect()
    };
    assert_eq!(names(&bob.scope).await, ["bobs"]);
    assert_eq!(names(&whole()).await, ["bobs", "report"]);
    // Who takes it over gives it their own rights.
    let taken = bench.app.update_schedule(&alice(), Wish { name: "bobs".to_owned(), ..other }, false).await;
    assert_eq!(taken.unwrap().schedule.owner, "operator/alice");
    assert_eq!(names(&bob.scope).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nothing_changes_before_it_is_meant() {
    let bench = Bench::following().await;
    bench.node(1).await;
    let refused = async |wish: Wish| match bench.app.create_schedule(&alice(), wish, false).await {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(hourly("No name")).await, "schedule.name");
    assert_eq!(refused(Wish { cron: "0 0 30 2 *".to_owned(), ..hourly("a") }).await, "schedule.cron");
    assert_eq!(refused(Wish { time_zone: "Mars".to_owned(), ..hourly("a") }).await, "schedule.time_zone");
    assert_eq!(refused(Wish { time_zone: String::new(), ..hourly("a") }).await, "schedule.time_zone");
    let catch_up = Some(Duration::from_secs(59));
    assert_eq!(refused(Wish { catch_up, ..hourly("a") }).await, "schedule.catch_up");
    let operation = bytes::Bytes::from_static(b"a=b=c");
    assert_eq!(refused(Wish { operation, ..hourly("a") }).await, "schedule.operation.selector");
    let tried = bench.app.create_schedule(&alice(), hourly("a"), true).await.unwrap();
    assert_eq!(tried.next.len(), 5);
    assert_eq!(reason(bench.app.schedule(&whole(), "a".to_owned()).await), Reason::NotFound);
    let made = bench.app.create_schedule(&alice(), hourly("a"), false).await.unwrap();
    assert_eq!(bench.app.create_schedule(&alice(), hourly("a"), false).await.unwrap(), made, "once more");
    let stale = Wish { etag: "\"1\"".to_owned(), paused: true, ..hourly("a") };
    assert_eq!(reason(bench.app.update_schedule(&alice(), stale, false).await), Reason::EtagMismatch);
    bench.app.delete_schedule(&alice(), "a".to_owned(), String::new()).await.unwrap();
    assert_eq!(reason(bench.app.schedule(&whole(), "a".to_owned()).await), Reason::NotFound);
}
