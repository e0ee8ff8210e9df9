//! What is told of a change before it is made, held against what comes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    assignment::Target,
    item::ItemName,
    rollout::{Plan, Share, StepForecast},
};

use super::{
    bench::{alice, open, whole},
    groups::{assign, fleet, group},
    rollouts::{Fleet, assignment, plan, version},
};
use crate::{
    app::{
        Error, assignments,
        preview::{ItemPreview, Kind, NodeSet, Preview, Time},
        rollouts,
    },
    session::ports::{Closed, Inbox as _},
};

/// What each node should have, by item.
type Desired = BTreeMap<NodeId, BTreeMap<ItemName, String>>;

fn desired(fleet: &Fleet) -> Desired {
    let of = |id: &NodeId| fleet.bench.app.node(&whole(), *id).unwrap().desired;
    let all = fleet.sessions.keys();
    all.map(|id| (*id, of(id).into_iter().map(|(item, it)| (item, it.sha256.to_string())).collect()))
        .collect()
}

fn ids(set: &NodeSet) -> BTreeSet<NodeId> {
    assert!(set.count == set.named.len() || set.named.len() == 20, "{set:?}");
    set.named.iter().map(|(id, _)| *id).collect()
}

/// Holds what was told against what has become of the nodes.
fn has_come(told: &Preview, before: &Desired, after: &Desired) {
    for it in &told.items {
        let moved = |is: fn(Option<&String>, Option<&String>) -> bool| -> BTreeSet<NodeId> {
            let of = |all: &Desired, id: &NodeId| all[id].get(&it.item).cloned();
            before.keys().filter(|id| is(of(before, id).as_ref(), of(after, id).as_ref())).copied().collect()
        };
        assert_eq!(ids(&it.gained), moved(|was, is| was.is_none() && is.is_some()), "{it:?}");
        assert_eq!(ids(&it.lost), moved(|was, is| was.is_some() && is.is_none()), "{it:?}");
        let changed = moved(|was, is| was.is_some() && is.is_some() && was != is);
        assert_eq!(ids(&it.changed), changed, "{it:?}");
        let stays: BTreeSet<NodeId> = ids(&it.same).union(&ids(&it.overruled)).copied().collect();
        assert!(stays.is_subset(&moved(|was, is| was == is)), "{it:?}");
    }
    let told: BTreeSet<&ItemName> = told.items.iter().map(|it| &it.item).collect();
    let others = |of: &BTreeMap<ItemName, String>| {
        of.iter()
            .filter(|(item, _)| !told.contains(item))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect::<Vec<_>>()
    };
    for (id, items) in before {
        assert_eq!(others(items), others(&after[id]), "nothing else changes");
    }
}

fn only(told: &Preview) -> &ItemPreview {
    let [item] = told.items.as_slice() else { panic!("{told:?}") };
    item
}

fn counts(it: &ItemPreview) -> [usize; 7] {
    let sets = [&it.gained, &it.changed, &it.lost, &it.same, &it.overruled, &it.withheld, &it.not_heard];
    sets.map(|set| set.count)
}

async fn preview(fleet: &Fleet, wish: assignments::Wish) -> Preview {
    fleet.bench.app.preview_assignment(&alice(), wish).await.unwrap().1
}

fn wish(name: &str, selector: &str, to: u64, priority: i32) -> assignments::Wish {
    assignments::Wish {
        name: name.to_owned(),
        selector: selector.to_owned(),
        target: version(to),
        priority,
        ..assignment(false)
    }
}

#[tokio::test]
async fn what_is_told_of_a_change_is_what_then_happens() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    app.create_group(&alice(), group("canary", "tier=1"), false).await.unwrap();
    let excluding =
        |it: assignments::Wish| assignments::Wish { exclusions: vec!["@canary".to_owned()], ..it };
    for (wish, expected) in [
        (wish("web", "*", 2, 0), [0, 20, 0, 0, 0, 0, 0]),
        (wish("web", "env=prod", 2, 0), [0, 0, 15, 5, 0, 0, 0]),
        (wish("urgent", "*", 3, 9), [15, 5, 0, 0, 0, 0, 0]),
        (wish("web", "*", 1, 0), [0, 0, 0, 0, 20, 0, 0]),
        (excluding(wish("urgent", "*", 3, 9)), [0, 2, 0, 18, 0, 0, 0]),
        (wish("urgent", "@canary", 3, 9), [0, 20, 0, 0, 0, 0, 0]),
    ] {
        let before = desired(&fleet);
        let told = preview(&fleet, wish.clone()).await;
        assert_eq!(desired(&fleet), before, "nothing was changed");
        assert_eq!(counts(only(&told)), expected, "{wish:?}");
        let step = StepForecast { nodes: expected[..3].iter().sum(), goes: 1, ..StepForecast::default() };
        let step = if step.nodes == 0 { StepForecast::default() } else { step };
        assert_eq!(
            (told.steps.as_slice(), told.time),
            ([step].as_slice(), Time::ToldWithin(Duration::from_secs(15)))
        );
        let made = app.create_assignment(&alice(), wish.clone(), false).await;
        if made.is_err() {
            assign(&fleet, wish).await.unwrap();
        }
        has_come(&told, &before, &desired(&fleet));
    }
    let before = desired(&fleet);
    let (_, told) = app.update_group(&alice(), group("canary", "env=prod"), true).await.unwrap();
    let told = told.unwrap();
    assert_eq!(desired(&fleet), before, "nothing was changed");
    assert_eq!(
        (told.entering.count, told.leaving.count, told.assignments.as_slice()),
        (3, 0, ["urgent".to_owned()].as_slice())
    );
    assert_eq!(counts(only(&told.preview)), [0, 3, 0, 2, 0, 0, 0]);
    app.update_group(&alice(), group("canary", "env=prod"), false).await.unwrap();
    has_come(&told.preview, &before, &desired(&fleet));

    let before = desired(&fleet);
    let (_, told) = app.preview_deletion(&alice(), "urgent".to_owned()).await.unwrap();
    assert_eq!(counts(only(&told)), [0, 5, 0, 0, 0, 0, 0]);
    app.delete_assignment(&alice(), "urgent".to_owned(), String::new()).await.unwrap();
    has_come(&told, &before, &desired(&fleet));
}

async fn preview_rollout(fleet: &Fleet, to: Option<Target>, plan: Plan) -> Preview {
    let wish = rollouts::Wish {
        assignment: "web".to_owned(),
        to,
        plan,
        request_id: String::new(),
        validate_only: true,
    };
    let rollout = fleet.bench.app.create_rollout(&alice(), wish).await.unwrap();
    fleet.bench.app.preview_rollout(&whole(), &rollout).await.unwrap()
}

#[tokio::test]
async fn a_rollout_is_told_step_by_step_and_comes_to_what_was_told() {
    let fleet = fleet().await;
    let mut plan = plan(Share::Count(0));
    plan.steps[1].approval = true;
    let plan = Plan { max_in_flight: 3, ..plan };
    let before = desired(&fleet);
    let told = preview_rollout(&fleet, Some(version(2)), plan.clone()).await;
    assert_eq!(counts(only(&told)), [0, 20, 0, 0, 0, 0, 0]);
    let steps: Vec<(usize, usize, u64, bool)> =
        told.steps.iter().map(|it| (it.nodes, it.goes, it.begins_after.as_secs(), it.approval)).collect();
    assert_eq!(steps, [(2, 1, 0, false), (8, 3, 10, true), (10, 4, 20, false)]);
    assert_eq!(told.time, Time::AtLeast(Duration::from_secs(30)));
    assert_eq!(desired(&fleet), before, "nothing was begun");
    let plan = Plan {
        steps: plan
            .steps
            .into_iter()
            .map(|it| muster_domain::rollout::Step { approval: false, ..it })
            .collect(),
        ..plan
    };
    fleet.begin(Some(version(2)), plan.clone()).await;
    fleet.run(|_| true).await;
    fleet.run(|_| true).await;
    has_come(&told, &before, &desired(&fleet));
    let told = preview_rollout(&fleet, None, plan).await;
    assert_eq!(counts(only(&told)), [0, 0, 20, 0, 0, 0, 0]);
}

#[tokio::test]
async fn who_would_not_follow_at_once_is_told() {
    let fleet = fleet().await;
    let gone = NodeId::from_u128(3);
    let stopped = Closed::Goodbye(muster_domain::liveness::Closed::Stopped);
    fleet.bench.app.closed(&fleet.sessions[&gone], &stopped);
    let told = preview(&fleet, wish("web", "env=prod", 2, 0)).await;
    assert_eq!(counts(only(&told)), [0, 5, 15, 0, 0, 0, 1]);
    assert_eq!(ids(&only(&told).not_heard), [gone].into());
    assert_eq!(told.steps[0].nodes, 19);
    let told = preview_rollout(&fleet, Some(version(2)), plan(Share::Count(0))).await;
    assert_eq!(told.steps.iter().map(|it| it.nodes).collect::<Vec<_>>(), [2, 8, 9]);
}

#[tokio::test]
async fn content_that_an_agent_would_pass_over_is_withheld() {
    let fleet = fleet().await;
    let payload = bytes::Bytes::from_static(b"v2 of it");
    fleet.bench.app.create_bundle(&alice(), "web".to_owned(), open(payload), false).await.unwrap();
    let told = preview(&fleet, wish("web", "env=prod", 0, 0)).await;
    assert_eq!(counts(only(&told)), [0, 5, 15, 0, 0, 5, 0]);
    assert_eq!(told.steps[0].nodes, 15, "the others lose it at once");
    let files: Vec<_> =
        only(&told).differences.iter().map(|it| (it.from.as_str(), it.to.as_str(), it.nodes)).collect();
    assert_eq!(files, [("1", "", 15), ("1", "4", 5)]);
    let [gone, other] = only(&told).differences.as_slice() else { panic!() };
    assert_eq!((gone.files[0].kind, gone.files[0].diff.as_str()), (Kind::Removed, ""));
    assert_eq!(
        (other.files[0].kind, other.files[0].what.as_slice()),
        (Kind::Changed, ["content".to_owned()].as_slice())
    );
    let diff = &other.files[0].diff;
    assert!(diff.contains("-{\"version\":1}") && diff.contains("+v2 of it"), "{diff}");
}

#[tokio::test]
async fn options_are_told_key_by_key_as_they_come_together_on_a_node() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    let put = async |name: &str, values: &[(&str, &str)]| {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (name, etag) = (name.to_owned(), String::new());
        let wish = crate::app::settings::Wish { name, values, etag, validate_only: false };
        app.put_profile(&alice(), wish).await.unwrap();
    };
    put("base", &[("facts-interval", "30m"), ("drift-interval", "20s")]).await;
    put("calm", &[("drift-interval", "40s")]).await;
    put("loud", &[("drift-interval", "10s")]).await;
    let give = |name: &str, selector: &str, priority| assignments::Wish {
        target: Target::Settings { profile: name.to_owned(), version: 0 },
        ..wish(name, selector, 1, priority)
    };
    let told = preview(&fleet, give("base", "*", 0)).await;
    assert_eq!(counts(only(&told)), [20, 0, 0, 0, 0, 0, 0]);
    app.create_assignment(&alice(), give("base", "*", 0), false).await.unwrap();
    let told = preview(&fleet, give("calm", "env=prod", 5)).await;
    assert_eq!(counts(only(&told)), [0, 5, 0, 0, 0, 0, 0]);
    let [difference] = only(&told).differences.as_slice() else { panic!("{told:?}") };
    let values: Vec<_> = difference.values.iter().map(|it| [&it.name, &it.from, &it.to]).collect();
    assert_eq!(values, [["drift-interval", "20s", "40s"]]);
    app.create_assignment(&alice(), give("calm", "env=prod", 5), false).await.unwrap();
    let told = preview(&fleet, give("loud", "tier=1", 3)).await;
    assert_eq!(counts(only(&told)), [0, 0, 0, 0, 2, 0, 0], "a stronger profile has its only key");
}

#[tokio::test]
async fn what_could_not_be_is_refused_as_the_change_would_be() {
    let fleet = fleet().await;
    let refused = async |wish| match fleet.bench.app.preview_assignment(&alice(), wish).await.unwrap_err() {
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => reason,
        Error::NotFound { .. } => Reason::NotFound,
        other => panic!("{other}"),
    };
    assert_eq!(refused(wish("rival", "tier", 2, 0)).await, Reason::Conflict);
    assert_eq!(refused(wish("web", "@nobody", 2, 0)).await, Reason::SelectorInvalid);
    assert_eq!(refused(wish("web", "*", 9, 0)).await, Reason::NotFound);
    let stale = assignments::Wish { etag: "ffff".to_owned(), ..wish("web", "*", 2, 0) };
    assert_eq!(refused(stale).await, Reason::EtagMismatch);
    assert!(fleet.bench.app.preview_deletion(&alice(), "nobody".to_owned()).await.is_err());
    fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    assert_eq!(refused(wish("web", "*", 3, 0)).await, Reason::StateConflict);
}
