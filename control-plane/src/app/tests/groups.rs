//! Groups, and what follows them.

use std::{collections::BTreeSet, time::Duration};

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    labels::{Labels, Written},
    page::Page,
    rollout::{Plan, Portion, Share, Speed, Step},
};

use super::{
    bench::{alice, whole, wish as operation},
    rollouts::{Fleet, assignment, plan, version},
};
use crate::{
    app::{Error, assignments, bindings, groups::Wish, nodes::Edit, rollouts, watch::NodeNews},
    session::ports::Desk as _,
};

pub(super) fn group(name: &str, selector: &str) -> Wish {
    Wish {
        name: name.to_owned(),
        selector: selector.to_owned(),
        description: String::new(),
        etag: String::new(),
    }
}

/// Twenty connected nodes that run version 1: the first five are `env=prod`, the first
/// two of these `tier=1`; the assignment reaches them all.
pub(super) async fn fleet() -> Fleet {
    let fleet = Fleet::new(false).await;
    for number in 1..=5 {
        let mut labels = Labels::from([("env".to_owned(), "prod".to_owned())]);
        if number <= 2 {
            labels.insert("tier".to_owned(), "1".to_owned());
        }
        let edit = Edit { labels: Some(labels), ..Edit::default() };
        fleet.bench.app.edit_node(&alice(), NodeId::from_u128(number), edit).await.unwrap();
    }
    fleet
}

pub(super) async fn assign(fleet: &Fleet, wish: assignments::Wish) -> Result<(), Error> {
    fleet.bench.app.update_assignment(&alice(), wish, false).await.map(drop)
}

fn to(selector: &str) -> assignments::Wish {
    assignments::Wish { selector: selector.to_owned(), ..assignment(false) }
}

async fn make(fleet: &Fleet, name: &str, selector: &str) {
    fleet.bench.app.create_group(&alice(), group(name, selector), false).await.unwrap();
}

async fn change(fleet: &Fleet, name: &str, selector: &str) -> Result<(), Error> {
    fleet.bench.app.update_group(&alice(), group(name, selector), false).await.map(drop)
}

/// The numbers of the nodes that should have something.
fn having(fleet: &Fleet) -> BTreeSet<u128> {
    let has = |id: &NodeId| !fleet.bench.app.node(&whole(), *id).unwrap().desired.is_empty();
    let all = (1..=20).map(|number| (number, NodeId::from_u128(number)));
    all.filter(|(_, id)| has(id)).map(|(number, _)| number).collect()
}

fn refusal(error: &Error) -> (Reason, String) {
    match error {
        Error::Refused { reason, message } => (*reason, message.clone()),
        Error::Invalid { reason, field, message } => (*reason, format!("{field}: {message}")),
        Error::Faults(faults) => (faults[0].reason, error.to_string()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_names_a_group_follows_it_and_who_leaves_sees_a_newer_generation() {
    let fleet = fleet().await;
    make(&fleet, "canary", "env=prod").await;
    assign(&fleet, to("@canary")).await.unwrap();
    assert_eq!(having(&fleet), (1..=5).collect());
    assign(&fleet, to("!@canary")).await.unwrap();
    assert_eq!(having(&fleet), (6..=20).collect());
    fleet.answer(|_| true);
    let ran = |id: u128| {
        let node = fleet.bench.app.node(&whole(), NodeId::from_u128(id)).unwrap().node;
        node.items.first().and_then(|it| it.running.clone()).map(|it| it.generation)
    };
    assert_eq!(ran(1), None, "it was taken from it");
    let before = ran(6).unwrap();
    change(&fleet, "canary", "!tier").await.unwrap();
    assert_eq!(having(&fleet), [1, 2].into());
    let session = &fleet.sessions[&NodeId::from_u128(6)];
    let removal = fleet.bench.app.desired(session).removals.pop().unwrap();
    assert!(removal.generation > before, "{removal:?} {before:?}");
    fleet.answer(|_| true);
    assert_eq!((ran(6), ran(1).is_some()), (None, true));
}

#[tokio::test]
async fn an_exclusion_takes_nodes_away_and_is_part_of_what_was_asked() {
    let fleet = fleet().await;
    make(&fleet, "first", "tier=1").await;
    let excluding = |exclusions: &[&str]| assignments::Wish {
        exclusions: exclusions.iter().map(|it| (*it).to_owned()).collect(),
        ..to("env=prod")
    };
    assign(&fleet, excluding(&["@first"])).await.unwrap();
    assert_eq!(having(&fleet), (3..=5).collect());
    let (stored, matched) = fleet.bench.app.assignment(&whole(), "web".to_owned()).await.unwrap();
    assert_eq!((stored.exclusions, matched), (vec!["@first".to_owned()], 3));
    let again = fleet.bench.app.create_assignment(&alice(), to("env=prod"), false).await.unwrap_err();
    assert_eq!(refusal(&again).0, Reason::AlreadyExists);
    change(&fleet, "first", "env=prod").await.unwrap();
    assert_eq!(having(&fleet), BTreeSet::new());
    let explained =
        fleet.bench.app.explain_item(&whole(), NodeId::from_u128(3), super::rollouts::item()).await;
    let reason = explained.unwrap().reasons.remove(0);
    let text = "\"web\" excludes this node by @first: @first (of the group: env=prod (it is \"prod\") holds)";
    assert_eq!((reason.about, reason.text.as_str()), ("Excluded", text));
    let seventeen = ["a"; 17];
    let refused = assign(&fleet, excluding(&seventeen)).await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::TooLarge, "exclusions: 17 exclusions; at most 16".to_owned()));
    let refused = assign(&fleet, excluding(&["a", "="])).await.unwrap_err();
    assert!(refusal(&refused).1.starts_with("exclusions[1]: column 1"), "{refused}");
}

#[tokio::test]
async fn a_group_that_would_set_assignments_at_odds_is_refused_and_stays_as_it_is() {
    let fleet = fleet().await;
    make(&fleet, "canary", "tier=1").await;
    assign(&fleet, to("!tier")).await.unwrap();
    let other = assignments::Wish { name: "other".to_owned(), target: version(2), ..to("@canary") };
    fleet.bench.app.create_assignment(&alice(), other, false).await.unwrap();
    let refused = change(&fleet, "canary", "env=prod").await.unwrap_err();
    let (reason, message) = refusal(&refused);
    assert_eq!(reason, Reason::Conflict);
    assert!(message.contains("\"other\", which names the group") && message.contains("\"web\""), "{message}");
    let told = fleet.bench.app.update_group(&alice(), group("canary", "env=prod"), true).await.unwrap_err();
    assert_eq!(refusal(&told).0, Reason::Conflict, "a preview is refused as the change is");
    let stored = fleet.bench.app.group(&whole(), "canary".to_owned()).await.unwrap();
    assert_eq!((stored.group.selector.as_str(), stored.matched), ("tier=1", 2));
    assert_eq!(stored.used_by, ["assignment/other"]);
    change(&fleet, "canary", "tier=1,env=prod").await.unwrap();
}

#[tokio::test]
async fn a_group_that_is_not_there_is_refused_wherever_it_is_named() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    let nobody = "there is no group \"nobody\"";
    let refused = assign(&fleet, to("env,@nobody")).await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::SelectorInvalid, format!("selector: {nobody}")));
    let excluding = assignments::Wish { exclusions: vec!["!@nobody".to_owned()], ..to("env") };
    let refused = assign(&fleet, excluding).await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::SelectorInvalid, format!("exclusions[0]: {nobody}")));
    let refused = app.start_operation(&alice(), operation("@nobody")).await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::SelectorInvalid, format!("selector: {nobody}")));
    let refused = app.selector_or_all("@nobody").unwrap_err();
    assert_eq!(refusal(&refused).0, Reason::SelectorInvalid);
    assert!(app.node_watch(whole(), Written::parse("@nobody").unwrap()).is_err());
    let refused = begin(&fleet, stepwise(&["@nobody", "env", "!@no"])).await.unwrap_err();
    let faults = "plan.steps[0].selector: there is no group \"nobody\"; plan.steps[2].selector: there is no group \"no\"";
    assert_eq!(refusal(&refused), (Reason::SelectorInvalid, faults.to_owned()));
}

#[tokio::test]
async fn no_group_stands_in_a_group_or_in_the_scope_of_a_role() {
    let fleet = fleet().await;
    make(&fleet, "all", "*").await;
    let nested = fleet.bench.app.create_group(&alice(), group("more", "env,@all"), false).await.unwrap_err();
    let (reason, message) = refusal(&nested);
    assert_eq!(reason, Reason::SelectorInvalid);
    assert!(
        message.starts_with("group.selector: column 5") && message.contains("no group can be named here")
    );
    let widened = change(&fleet, "all", "!@all").await.unwrap_err();
    assert_eq!(refusal(&widened).0, Reason::SelectorInvalid);
    let binding = bindings::Wish {
        name: "mallory".to_owned(),
        principal: "operator/mallory".to_owned(),
        role: "admin".to_owned(),
        selector: "@all".to_owned(),
    };
    let refused = fleet.bench.app.create_binding(&alice(), binding).await.unwrap_err();
    assert_eq!(refusal(&refused).0, Reason::SelectorInvalid);
    assert!("@all".parse::<muster_domain::access::Reach>().is_err(), "nor in what an assignment keeps");
}

fn stepwise(selectors: &[&str]) -> Plan {
    let step = |reach| Step { reach, soak: Duration::from_secs(10), approval: false };
    let steps = selectors.iter().map(|it| step(Portion::Selector((*it).to_owned())));
    Plan {
        steps: steps.chain([step(Portion::Percent(100))]).collect(),
        max_failed: Share::Count(0),
        max_in_flight: 0,
        ..Speed::Normal.plan()
    }
}

async fn begin(fleet: &Fleet, plan: Plan) -> Result<muster_domain::rollout::Rollout, Error> {
    let wish = rollouts::Wish {
        assignment: "web".to_owned(),
        to: Some(version(2)),
        plan,
        request_id: String::new(),
        validate_only: false,
    };
    fleet.bench.app.create_rollout(&alice(), wish).await
}

#[tokio::test]
async fn a_step_of_a_rollout_takes_a_group_as_it_is_then_and_a_group_in_use_stays() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    make(&fleet, "canary", "tier=1").await;
    let id = begin(&fleet, stepwise(&["@canary"])).await.unwrap().id;
    assert_eq!(app.group(&whole(), "canary".to_owned()).await.unwrap().used_by, [format!("rollout/{id}")]);
    let refused = app.delete_group(&alice(), "canary".to_owned(), String::new()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::InUse, format!("rollout {id} names it")));
    app.turn_rollouts().await.unwrap();
    let touched = async || app.rollout(&whole(), id).await.unwrap().tally.touched;
    assert_eq!(touched().await, 2);
    // Who comes into the group before the step is over belongs to it.
    change(&fleet, "canary", "env=prod").await.unwrap();
    app.turn_rollouts().await.unwrap();
    assert_eq!(touched().await, 5);
    fleet.run(|_| true).await;
    assert_eq!(app.rollout(&whole(), id).await.unwrap().tally.done, 20);
    app.delete_group(&alice(), "canary".to_owned(), String::new()).await.unwrap();
    assert!(app.group(&whole(), "canary".to_owned()).await.is_err());
}

#[tokio::test]
async fn a_step_whose_group_is_gone_is_for_nobody() {
    let fleet = fleet().await;
    make(&fleet, "canary", "tier=1").await;
    let id = begin(&fleet, stepwise(&["@canary"])).await.unwrap().id;
    // As no use-case does it.
    fleet.bench.write(|tx| Ok(muster_store::WriteGroups::group_delete(tx, "canary")?)).await;
    fleet.bench.app.follow().await.unwrap();
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(fleet.bench.app.rollout(&whole(), id).await.unwrap().tally.touched, 0);
}

#[tokio::test]
async fn who_sees_some_nodes_is_told_of_groups_what_these_tell() {
    use muster_domain::access::{Permission, Reach, Scope};
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    make(&fleet, "canary", "env=prod").await;
    let hidden = assignments::Wish { exclusions: vec!["!@canary".to_owned()], ..to("!tier") };
    assign(&fleet, hidden).await.unwrap();
    let principal = "operator/dave".to_owned();
    let reach: Reach = "tier=1".parse().unwrap();
    let some = Scope { principal, permission: Permission::Read, reach };
    let seen = app.group(&some, "canary".to_owned()).await.unwrap();
    assert_eq!((seen.matched, seen.used_by.len()), (2, 0), "it reaches none of its nodes");
    assert_eq!(app.group(&whole(), "canary".to_owned()).await.unwrap().used_by, ["assignment/web"]);
}

#[tokio::test]
async fn a_group_that_an_assignment_names_is_not_deleted() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    make(&fleet, "canary", "tier=1").await;
    let excluding = assignments::Wish { exclusions: vec!["x,!@canary".to_owned()], ..to("*") };
    assign(&fleet, excluding).await.unwrap();
    let stored = app.group(&whole(), "canary".to_owned()).await.unwrap().group;
    let delete = async |etag: String| app.delete_group(&alice(), "canary".to_owned(), etag).await;
    let refused = delete(String::new()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::InUse, "assignment \"web\" names it".to_owned()));
    assign(&fleet, to("*")).await.unwrap();
    let stale = delete("ffff".to_owned()).await.unwrap_err();
    assert_eq!(refusal(&stale).0, Reason::EtagMismatch);
    delete(muster_domain::node::etag(stored.revision)).await.unwrap();
}

#[tokio::test]
async fn a_watch_follows_the_groups_that_it_names() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    make(&fleet, "canary", "tier=1").await;
    let written = || Written::parse("@canary").unwrap();
    let mut watch = app.node_watch(whole(), written()).unwrap();
    let (now, from) = app.nodes_now(&watch);
    assert_eq!(now, [1, 2].map(NodeId::from_u128));
    change(&fleet, "canary", "env=prod,!tier").await.unwrap();
    let (ids, reached) = app.node_changes(&mut watch, from).await.unwrap();
    let news = ids.iter().map(|id| match app.node_news(&mut watch, *id) {
        Some(NodeNews::Upserted(view)) => (view.node.id, true),
        Some(NodeNews::Removed(id)) => (id, false),
        None => panic!("{id}"),
    });
    let expected = [(1, false), (2, false), (3, true), (4, true), (5, true)];
    assert_eq!(news.collect::<Vec<_>>(), expected.map(|(number, is_in)| (NodeId::from_u128(number), is_in)));
    // What was told before the change says nothing of it: such a watch begins anew.
    let fresh = app.node_watch(whole(), written()).unwrap();
    let refused = app.resume_nodes_from(&fresh, &app.resume_token(from)).await.unwrap_err();
    assert_eq!(refusal(&refused).0, Reason::ResumeTokenExpired);
    assert_eq!(app.resume_nodes_from(&fresh, &app.resume_token(reached)).await.unwrap(), reached);
    app.delete_group(&alice(), "canary".to_owned(), String::new()).await.unwrap();
    assert!(app.node_changes(&mut watch, reached).await.is_err(), "it watches nothing that is");
}

#[tokio::test]
async fn an_operation_goes_to_a_group_and_lists_show_it() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    make(&fleet, "canary", "env=prod").await;
    let (started, _) = app.start_operation(&alice(), operation("@canary,!tier")).await.unwrap();
    assert_eq!((started.total, started.selector.as_str()), (3, "@canary,!tier"));
    let page = Page { size: 100, after: None };
    let selector = app.selector_or_all("!@canary").unwrap();
    assert_eq!(app.nodes(&whole(), &selector, &page).unwrap().1, 15);
    let listed = app.groups(&whole(), page).await.unwrap().rows;
    assert_eq!(
        listed.iter().map(|it| (it.group.name.as_str(), it.matched)).collect::<Vec<_>>(),
        [("canary", 5)]
    );
}

#[tokio::test]
async fn a_group_is_made_once_and_each_change_of_it_is_written_down() {
    let fleet = fleet().await;
    let app = &fleet.bench.app;
    let create = async |wish| app.create_group(&alice(), wish, false).await.map(|it| it.group);
    let first = create(group("canary", "env=prod")).await.unwrap();
    assert_eq!(create(group("canary", "env=prod")).await.unwrap(), first);
    let taken = create(group("canary", "env=test")).await.unwrap_err();
    assert_eq!(refusal(&taken).0, Reason::AlreadyExists);
    for wrong in ["", "Canary", "-x"] {
        assert_eq!(refusal(&create(group(wrong, "*")).await.unwrap_err()).0, Reason::InvalidArgument);
    }
    let told = Wish { description: "a\u{7}b".to_owned(), ..group("other", "*") };
    assert_eq!(refusal(&create(told).await.unwrap_err()).0, Reason::InvalidArgument);
    let (same, _) = app.update_group(&alice(), group("canary", "env=prod"), false).await.unwrap();
    assert_eq!(same.group, first, "nothing was written");
    let described = Wish { description: "the first ones".to_owned(), ..group("canary", "env=prod") };
    let (described, _) = app.update_group(&alice(), described, false).await.unwrap();
    assert!(described.group.revision > first.revision);
    app.delete_group(&alice(), "canary".to_owned(), String::new()).await.unwrap();
    let filter = muster_domain::audit::Filter { subject: "group/canary".to_owned(), ..Default::default() };
    let page = Page { size: 10, after: None };
    let entries = app.audit_entries(page, filter).await.unwrap().rows;
    let actions: Vec<&str> = entries.iter().map(|(_, entry)| entry.stamp.action.as_str()).collect();
    assert_eq!(actions, ["groups.delete", "groups.update", "groups.create"]);
}

#[tokio::test]
async fn all_faults_of_a_plan_are_told() {
    let fleet = fleet().await;
    let mut wrong = plan(Share::Percent(101));
    wrong.steps[0].reach = Portion::Percent(0);
    let refused = begin(&fleet, Plan { success_percent: 0, ..wrong }).await.unwrap_err();
    let Error::Faults(faults) = refused else { panic!("{refused}") };
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["plan.steps[0].percent", "plan.success_percent", "plan.max_failed.percent"]);
}

#[tokio::test]
async fn an_assignment_is_not_made_again_as_a_held_one() {
    let fleet = fleet().await;
    let create = async |held| fleet.bench.app.create_assignment(&alice(), assignment(held), false).await;
    assert!(!create(false).await.unwrap().staged.held);
    assert_eq!(refusal(&create(true).await.unwrap_err()).0, Reason::AlreadyExists);
}
