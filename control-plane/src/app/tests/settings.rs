//! Versions of settings profiles: who gets which, and what is told of them.

use std::collections::BTreeMap;

use muster_common::{digest::Sha256, ids::NodeId, reason::Reason};
use muster_domain::{
    assignment::Target,
    facts::Facts,
    item::ItemName,
    page::Page,
    rollout::{Phase, Share, Wish as Asked},
    settings::{EffectiveSetting, Origin, Profile},
};

use super::{
    bench::{Bench, alice, whole},
    rollouts::{Fleet, plan},
};
use crate::{
    app::{
        Error,
        assignments::Wish,
        explain::{Explanation, Verdict},
        rollouts,
        settings::Wish as Put,
    },
    session::{frames::FactsReport, ports::Inbox as _},
};

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn wish(name: &str, pairs: &[(&str, &str)]) -> Put {
    Put { name: name.to_owned(), values: values(pairs), etag: String::new(), validate_only: false }
}

async fn put(bench: &Bench, name: &str, pairs: &[(&str, &str)]) -> u64 {
    bench.app.put_profile(&alice(), wish(name, pairs)).await.unwrap().version
}

fn target(profile: &str, version: u64) -> Target {
    Target::Settings { profile: profile.to_owned(), version }
}

fn assignment(name: &str, profile: &str, version: u64) -> Wish {
    Wish {
        name: name.to_owned(),
        selector: "*".to_owned(),
        exclusions: Vec::new(),
        target: target(profile, version),
        priority: 0,
        held: false,
        etag: String::new(),
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Option<Reason> {
    match result.unwrap_err() {
        Error::NotFound { .. } => Some(Reason::NotFound),
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => Some(reason),
        _ => None,
    }
}

/// Nodes that run the first version of a profile, which has a second one.
async fn fleet() -> Fleet {
    let fleet = Fleet::new(false).await;
    assert_eq!(put(&fleet.bench, "pace", &[("facts-interval", "1m")]).await, 1);
    fleet.bench.app.create_assignment(&alice(), assignment("pace", "pace", 0), false).await.unwrap();
    fleet.answer(|_| true);
    assert_eq!(put(&fleet.bench, "pace", &[("facts-interval", "2m"), ("log-level", "debug")]).await, 2);
    fleet
}

const FIRST: &str = r#"{"facts-interval":"1m"}"#;
const SECOND: &str = r#"{"facts-interval":"2m","log-level":"debug"}"#;

/// How many nodes should run the first version and the second, and how many do.
fn counts(fleet: &Fleet) -> [(usize, usize); 2] {
    let (mut counts, catalog) = ([(0, 0); 2], fleet.bench.app.catalog.now());
    fleet.bench.app.fleet.for_each(|entry| {
        let wanted = catalog.wanted_of(&entry.node, &ItemName::Settings, 1).unwrap().payload;
        let running = entry.reported(&ItemName::Settings).and_then(|state| state.running.clone()).unwrap();
        for (payload, count) in [FIRST, SECOND].iter().zip(&mut counts) {
            count.0 += usize::from(wanted == payload.as_bytes());
            count.1 += usize::from(running.sha256 == Sha256::of(payload.as_bytes()));
        }
    });
    counts
}

async fn begin(
    fleet: &Fleet,
    version: u64,
    max_failed: Share,
) -> Result<muster_common::ids::RolloutId, Error> {
    let wish = rollouts::Wish {
        assignment: "pace".to_owned(),
        to: Some(target("pace", version)),
        plan: plan(max_failed),
        request_id: "once".to_owned(),
        validate_only: false,
    };
    let made = fleet.bench.app.create_rollout(&alice(), wish.clone()).await?;
    let again = fleet.bench.app.create_rollout(&alice(), wish).await?;
    assert_eq!((again.id, again.to), (made.id, made.to), "a repeat is the same one");
    Ok(made.id)
}

#[tokio::test]
async fn other_values_are_the_next_version_and_the_same_are_the_newest() {
    let bench = Bench::following().await;
    let app = &bench.app;
    assert_eq!(put(&bench, "p", &[("log-level", "info")]).await, 1);
    assert_eq!(put(&bench, "p", &[("log-level", "info")]).await, 1);
    assert_eq!(put(&bench, "p", &[("log-level", "warn")]).await, 2);
    assert_eq!(put(&bench, "p", &[("log-level", "info")]).await, 3, "the newest decides, not the first");
    let etag = |profile: &Profile| muster_domain::node::etag(profile.revision);
    let newest = app.profile("p".to_owned(), 0).await.unwrap();
    let first = app.profile("p".to_owned(), 1).await.unwrap();
    assert_eq!((newest.version, newest.values == first.values), (3, true));
    let stale = Put { etag: etag(&first), ..wish("p", &[]) };
    assert_eq!(reason(app.put_profile(&alice(), stale).await), Some(Reason::EtagMismatch));
    let trial = Put { validate_only: true, etag: etag(&newest), ..wish("p", &[]) };
    assert_eq!(app.put_profile(&alice(), trial.clone()).await.unwrap().version, 4);
    let listed = app.profiles(Page { size: 9, after: None }, Some("p".to_owned())).await.unwrap().rows;
    assert_eq!(listed.iter().map(|it| it.version).collect::<Vec<_>>(), [3, 2, 1], "a trial adds nothing");
    app.delete_profile(&alice(), "p".to_owned(), 3).await.unwrap();
    assert_eq!(put(&bench, "p", &[]).await, 4, "a number is given once");
    assert_eq!(reason(app.profile("p".to_owned(), 3).await), Some(Reason::NotFound));
    let wrong = app.put_profile(&alice(), wish("p", &[("colour", "red"), ("log-level", "loud")])).await;
    assert!(matches!(wrong, Err(Error::Faults(faults)) if faults.len() == 2));
}

#[tokio::test]
async fn a_new_version_reaches_nobody_until_it_is_assigned() {
    let fleet = fleet().await;
    assert_eq!(counts(&fleet), [(20, 20), (0, 0)]);
    let app = &fleet.bench.app;
    let generation = |node| {
        let view = app.node(&whole(), node).unwrap();
        view.desired.iter().find(|(item, _)| *item == ItemName::Settings).unwrap().1.generation
    };
    let before = generation(NodeId::from_u128(1));
    put(&fleet.bench, "pace", &[("log-level", "warn")]).await;
    assert_eq!(generation(NodeId::from_u128(1)), before, "nothing is offered anew");
    app.update_assignment(&alice(), assignment("pace", "pace", 2), false).await.unwrap();
    assert_eq!(counts(&fleet), [(0, 20), (20, 0)], "an update is for all at once");
    fleet.answer(|_| true);
    assert_eq!(counts(&fleet), [(0, 0), (20, 20)]);
}

#[tokio::test]
async fn a_rollout_brings_a_version_to_those_it_touches_and_takes_it_back() {
    let fleet = fleet().await;
    let id = begin(&fleet, 2, Share::Count(0)).await.unwrap();
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(counts(&fleet), [(18, 20), (2, 0)]);
    fleet.answer(|_| true);
    assert_eq!(counts(&fleet), [(18, 18), (2, 2)], "only those have it");
    fleet.ask(id, Asked::RollBack).await.unwrap();
    fleet.run(|_| true).await;
    assert_eq!(counts(&fleet), [(20, 20), (0, 0)]);
}

#[tokio::test]
async fn a_version_that_hosts_refuse_goes_back_everywhere_and_a_good_one_becomes_the_assignments_own() {
    let fleet = fleet().await;
    let id = begin(&fleet, 2, Share::Count(1)).await.unwrap();
    fleet.run(|node| !node.to_string().ends_with(['3', '7', '9'])).await;
    let seen = fleet.bench.app.rollout(&whole(), id).await.unwrap().rollout;
    assert_eq!((seen.phase, seen.to), (Phase::RolledBack, Some(target("pace", 2))));
    assert_eq!(counts(&fleet), [(20, 20), (0, 0)]);
    let wish = rollouts::Wish {
        assignment: "pace".to_owned(),
        to: Some(target("pace", 0)),
        plan: plan(Share::Count(0)),
        request_id: String::new(),
        validate_only: false,
    };
    fleet.bench.app.create_rollout(&alice(), wish).await.unwrap();
    fleet.run(|_| true).await;
    assert_eq!(counts(&fleet), [(0, 0), (20, 20)]);
    let (own, _) = fleet.bench.app.assignment(&whole(), "pace".to_owned()).await.unwrap();
    assert_eq!(own.target, target("pace", 2), "the newest of then, fixed");
}

#[tokio::test]
async fn versions_at_odds_are_refused_by_whoever_brings_them_together() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    put(&fleet.bench, "other", &[("facts-interval", "1m")]).await;
    app.create_assignment(&alice(), assignment("other", "other", 0), false).await.unwrap();
    let conflict = Some(Reason::Conflict);
    let update = app.update_assignment(&alice(), assignment("pace", "pace", 2), false).await;
    assert_eq!(reason(update), conflict);
    assert_eq!(reason(begin(&fleet, 2, Share::Count(0)).await), conflict);
    // What a rollout may bring counts as much as what is there.
    app.delete_assignment(&alice(), "other".to_owned(), String::new()).await.unwrap();
    begin(&fleet, 2, Share::Count(0)).await.unwrap();
    let create = app.create_assignment(&alice(), assignment("other", "other", 0), false).await;
    assert_eq!(reason(create), conflict);
}

#[tokio::test]
async fn a_version_that_somebody_may_get_is_in_use() {
    let fleet = fleet().await;
    let delete = |version| {
        let app = fleet.bench.app.clone();
        async move { app.delete_profile(&alice(), "pace".to_owned(), version).await }
    };
    begin(&fleet, 2, Share::Count(0)).await.unwrap();
    assert_eq!(put(&fleet.bench, "pace", &[]).await, 3);
    for version in [0, 1, 2] {
        assert_eq!(reason(delete(version).await), Some(Reason::InUse), "{version}");
    }
    delete(3).await.unwrap();
    assert_eq!(reason(delete(3).await), Some(Reason::NotFound));
}

fn told(found: &Explanation, about: &str) -> Vec<String> {
    let of = found.reasons.iter().filter(|reason| reason.about == about);
    of.map(|reason| reason.text.clone()).collect()
}

fn setting(key: &str, value: &str, origin: Origin, desired: Option<&str>) -> EffectiveSetting {
    let (key, value) = (key.to_owned(), value.to_owned());
    EffectiveSetting { key, value, origin: Some(origin), desired: desired.map(str::to_owned) }
}

#[tokio::test]
async fn what_a_host_keeps_for_itself_is_told_beside_whose_version_decides() {
    let fleet = fleet().await;
    let (app, id) = (&fleet.bench.app, NodeId::from_u128(1));
    app.update_assignment(&alice(), assignment("pace", "pace", 2), false).await.unwrap();
    put(&fleet.bench, "quiet", &[("log-level", "error")]).await;
    let quiet = Wish { priority: 9, ..assignment("quiet", "quiet", 0) };
    app.create_assignment(&alice(), quiet, false).await.unwrap();
    let settings = vec![
        setting("facts-interval", "2m", Origin::ControlPlane, None),
        setting("log-level", "debug", Origin::Lock, Some("error")),
    ];
    let facts = Facts { settings, ..Facts::default() };
    app.facts(&fleet.sessions[&id], FactsReport { facts, sha256: b"told".to_vec() });
    app.record().await.unwrap();
    assert!(app.node(&whole(), id).unwrap().settings_by.is_empty(), "it does not run this yet");
    fleet.answer(|_| true);
    let view = app.node(&whole(), id).unwrap();
    assert_eq!(view.settings_by["facts-interval"], ("pace".to_owned(), 2));
    assert_eq!(view.settings_by["log-level"], ("quiet".to_owned(), 1));
    let found = app.explain_item(&whole(), id, ItemName::Settings).await.unwrap();
    assert_eq!(found.verdict, Verdict::InSync, "it has what it was given");
    assert_eq!(
        told(&found, "Profile"),
        [
            r#""facts-interval" is "2m" by version 2 of settings profile "pace", of assignment "pace""#,
            r#""log-level" is "error" by version 1 of settings profile "quiet", of assignment "quiet""#,
        ]
    );
    assert_eq!(
        told(&found, "LocalLock"),
        [r#"the host keeps "log-level" at "debug", not "error": its lock file says so"#]
    );
    assert!(
        told(&found, "Assignment")
            .contains(&r#""pace" gives version 2 of settings profile "pace" with priority 0"#.to_owned())
    );
    let bundle = app.explain_item(&whole(), id, super::rollouts::item()).await.unwrap();
    assert_eq!(told(&bundle, "LocalLock"), Vec::<String>::new());
}
