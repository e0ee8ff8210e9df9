//! Whoever has bindings on some nodes sees and touches those, and no others.

mod random;

use std::{collections::BTreeMap, time::Duration};

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    access::{Asked, Binding, Permission, Role, Scope},
    assignment::Target,
    labels::{Labels, Selector, Written},
    liveness::State as Liveness,
    operation::{Plan, Supersede},
    page::Page,
};
use muster_store::{WriteAccess as _, WriteNodes as _};

use super::bench::{Bench, actor, alice, binding, caller, node, whole, wish};
use crate::app::{
    Actor, Error, assignments, bindings,
    nodes::Edit,
    settings,
    watch::{NodeNews, NodeWatch, OperationNews, Place, Told},
};

const DAVE: &str = "operator/dave";

fn labels(env: &str) -> Labels {
    Labels::from([("env".to_owned(), env.to_owned())])
}

fn page() -> Page {
    Page { size: 100, after: None }
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::NotFound { .. } => Reason::NotFound,
        Error::Refused { reason, .. } | Error::Invalid { reason, .. } => *reason,
        Error::Faults(faults) => faults[0].reason,
        Error::Store(error) => panic!("{error}"),
        Error::Later { .. } => panic!("{error}"),
        Error::Blobs(error) => panic!("{error}"),
    }
}

/// Nodes with these environments, and dave, who is admin of some.
async fn bench(envs: &[&str], selector: &str) -> (Bench, Vec<NodeId>) {
    let bench = Bench::following().await;
    let mut ids = Vec::new();
    for (number, env) in (1..).zip(envs) {
        let (id, labels) = (bench.node(number).await, labels(env));
        edit(&bench, id, labels).await;
        ids.push(id);
    }
    let dave = binding(DAVE, Role::Admin, selector);
    bench
        .write(move |tx| {
            tx.caller_put(&caller(DAVE))?;
            Ok(tx.binding_put(&dave)?)
        })
        .await;
    bench.app.follow().await.unwrap();
    (bench, ids)
}

async fn edit(bench: &Bench, id: NodeId, labels: Labels) {
    let edit = Edit { labels: Some(labels), ..Edit::default() };
    bench.app.edit_node(&alice(), id, edit).await.unwrap();
}

fn scope(bench: &Bench, permission: Permission) -> Scope {
    bench.app.access.scope(DAVE, "01", Asked { permission, fleet: false }).unwrap()
}

fn dave(bench: &Bench) -> Actor {
    actor(DAVE, scope(bench, Permission::EditNodes))
}

fn target() -> Target {
    Target::Settings { profile: "p".to_owned(), version: 1 }
}

fn assign(name: &str, selector: &str) -> assignments::Wish {
    let (name, selector) = (name.to_owned(), selector.to_owned());
    assignments::Wish {
        name,
        selector,
        exclusions: Vec::new(),
        target: target(),
        priority: 0,
        held: false,
        etag: String::new(),
    }
}

async fn profile(bench: &Bench) {
    let values = BTreeMap::from([("facts-interval".to_owned(), "30m".to_owned())]);
    let wish = settings::Wish { name: "p".to_owned(), values, etag: String::new(), validate_only: false };
    bench.app.put_profile(&alice(), wish).await.unwrap();
}

#[tokio::test]
async fn lists_and_counts_show_the_scope_and_nothing_else() {
    let (bench, ids) = bench(&["dev", "prod", "dev", "test"], "env in (dev,test)").await;
    let read = scope(&bench, Permission::Read);
    let (listed, total) = bench.app.nodes(&read, &Selector::all(), &page()).unwrap();
    let seen: Vec<NodeId> = listed.rows.iter().map(|view| view.node.id).collect();
    assert_eq!((seen, total), (vec![ids[0], ids[2], ids[3]], 3));
    let prod = Selector::parse("env=prod").unwrap();
    assert_eq!(bench.app.nodes(&read, &prod, &page()).unwrap().1, 0);
    let system = bench.app.system(&read).await.unwrap();
    assert_eq!((system.nodes, system.sessions), (vec![(Liveness::NeverSeen, 3)], 0));
    assert_eq!(bench.app.system(&whole()).await.unwrap().nodes, [(Liveness::NeverSeen, 4)]);
    let hidden = bench.app.node(&read, ids[1]).unwrap_err();
    let absent = bench.app.node(&read, NodeId::from_u128(99)).unwrap_err();
    assert_eq!(
        hidden.to_string().replace(&ids[1].to_string(), "ID"),
        absent.to_string().replace(&NodeId::from_u128(99).to_string(), "ID")
    );
}

#[tokio::test]
async fn an_operation_reaches_the_scope_and_shows_of_others_only_that() {
    let (bench, ids) = bench(&["dev", "prod", "dev"], "env=dev").await;
    let preview = crate::app::operations::Wish { validate_only: true, ..wish("*") };
    assert_eq!(bench.app.start_operation(&dave(&bench), preview).await.unwrap().1.total(), 2);
    let (own, counts) = bench.app.start_operation(&dave(&bench), wish("*")).await.unwrap();
    assert_eq!((own.total, counts.total()), (2, 2));
    let (all, _) = bench.app.start_operation(&alice(), wish("*")).await.unwrap();
    let (foreign, _) = bench.app.start_operation(&alice(), wish("env=prod")).await.unwrap();

    let read = scope(&bench, Permission::Read);
    assert_eq!(bench.app.operation(&read, all.id).await.unwrap().1.total(), 2);
    assert_eq!(bench.app.operation(&whole(), all.id).await.unwrap().1.total(), 3);
    assert_eq!(reason(&bench.app.operation(&read, foreign.id).await.unwrap_err()), Reason::NotFound);
    let listed = bench.app.operations(&read, page()).await.unwrap();
    let listed: Vec<_> =
        listed.rows.iter().map(|(operation, counts)| (operation.id, counts.total())).collect();
    assert_eq!(listed, [(all.id, 2), (own.id, 2)]);
    let one = |after| bench.app.operations(&read, Page { size: 1, after });
    let first = one(None).await.unwrap();
    assert_eq!(one(first.next).await.unwrap().rows[0].0.id, own.id, "pages go on over what is not shown");
    let commands = bench.app.commands(&read, all.id, page(), true).await.unwrap().rows;
    let on: Vec<NodeId> = commands.iter().map(|(command, _)| command.node).collect();
    assert_eq!(on.len(), 2);
    assert!(!on.contains(&ids[1]));
    assert!(bench.app.commands(&read, foreign.id, page(), true).await.is_err());
    let (news, told) = bench.app.operation_news(&read, all.id, &mut Place::default()).await.unwrap();
    let told_of = |news: &&OperationNews| matches!(news, OperationNews::Command(it) if it.node == ids[1]);
    assert_eq!((news.len(), news.iter().filter(told_of).count(), told), (3, 0, Told::All));

    let cancel = async |id| bench.app.cancel_operation(&dave(&bench), id, String::new(), false).await;
    assert_eq!(reason(&cancel(foreign.id).await.unwrap_err()), Reason::NotFound);
    assert_eq!(reason(&cancel(all.id).await.unwrap_err()), Reason::PermissionDenied);
    assert!(!bench.app.operation(&whole(), all.id).await.unwrap().0.cancel_requested);
    assert!(cancel(own.id).await.unwrap().0.cancel_requested);
}

#[tokio::test]
async fn a_retry_a_preview_and_what_is_superseded_stay_in_the_scope() {
    let (bench, ids) = bench(&["dev", "prod", "dev"], "env=dev").await;
    let key = Supersede { key: "deploy".to_owned(), stop_running: true };
    let plan = Plan { supersede: Some(key), ..Plan::default() };
    let keyed = crate::app::operations::Wish { plan, ..wish("*") };
    let (all, _) = bench.app.start_operation(&alice(), keyed.clone()).await.unwrap();
    let (foreign, _) = bench.app.start_operation(&alice(), wish("env=prod")).await.unwrap();
    let read = scope(&bench, Permission::Command);
    let (listed, counts) = bench.app.preview_operation(&read, &keyed, page()).await.unwrap();
    assert_eq!((listed.rows.len(), counts.total, counts.superseded), (2, 2, 2));

    let (own, counts) = bench.app.start_operation(&dave(&bench), keyed).await.unwrap();
    assert_eq!(counts.total(), 2);
    let left = bench.app.commands(&whole(), all.id, page(), false).await.unwrap().rows;
    let left: Vec<NodeId> =
        left.into_iter().filter(|(it, _)| !it.state.is_end()).map(|(it, _)| it.node).collect();
    assert_eq!(left, [ids[1]], "on other nodes the older one stays");

    bench.app.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(bench.app.expire_commands().await.unwrap(), 4);
    let retry = async |who: Actor, id| bench.app.retry_operation(&who, id, Vec::new(), String::new()).await;
    assert_eq!(reason(&retry(dave(&bench), foreign.id).await.unwrap_err()), Reason::NotFound);
    assert_eq!(retry(dave(&bench), own.id).await.unwrap().1.total(), 2);
    let (plain, _) = bench.app.start_operation(&alice(), wish("*")).await.unwrap();
    bench.app.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(bench.app.expire_commands().await.unwrap(), 5);
    assert_eq!(retry(dave(&bench), plain.id).await.unwrap().1.total(), 2);
    assert_eq!(retry(alice(), plain.id).await.unwrap().1.total(), 1, "what is left of it");
}

#[tokio::test]
async fn an_operation_of_nobody_is_still_its_makers() {
    let (bench, _) = bench(&["prod"], "env=dev").await;
    let (own, counts) = bench.app.start_operation(&dave(&bench), wish("*")).await.unwrap();
    assert_eq!(counts.total(), 0);
    let read = scope(&bench, Permission::Read);
    assert_eq!(bench.app.operation(&read, own.id).await.unwrap().0.id, own.id);
}

#[tokio::test]
async fn an_assignment_never_leaves_the_scope_of_its_maker() {
    let (bench, ids) = bench(&["dev", "prod"], "env=dev").await;
    profile(&bench).await;
    let deployer = || actor(DAVE, scope(&bench, Permission::Deploy));
    let made = bench.app.create_assignment(&deployer(), assign("a", "*"), false).await.unwrap();
    assert_eq!(made.scope, "env=dev");
    let has = |id| !bench.app.node(&whole(), id).unwrap().desired.is_empty();
    assert_eq!((has(ids[0]), has(ids[1])), (true, false));
    assert_eq!(bench.app.reach(&whole(), &[made]).await, [1]);
    // Also not when somebody else changes it: the scope is that of its making.
    let moved = assignments::Wish { priority: 7, ..assign("a", "env") };
    assert_eq!(bench.app.update_assignment(&alice(), moved, false).await.unwrap().scope, "env=dev");
    assert_eq!((has(ids[0]), has(ids[1])), (true, false));
    // A node that comes into the scope gets it; one that leaves it loses it.
    edit(&bench, ids[1], labels("dev")).await;
    edit(&bench, ids[0], labels("prod")).await;
    assert_eq!((has(ids[0]), has(ids[1])), (false, true));
}

#[tokio::test]
async fn an_assignment_of_others_can_be_seen_where_it_reaches_and_not_be_changed() {
    let (bench, _) = bench(&["dev", "prod"], "env=dev").await;
    profile(&bench).await;
    for (name, selector) in [("all", "env"), ("prod", "env=prod")] {
        bench.app.create_assignment(&alice(), assign(name, selector), false).await.unwrap();
    }
    let deployer = actor(DAVE, scope(&bench, Permission::Deploy));
    let listed = bench.app.assignments(&deployer.scope, page()).await.unwrap().rows;
    let listed: Vec<(&str, usize)> =
        listed.iter().map(|(found, reach)| (found.name.as_str(), *reach)).collect();
    assert_eq!(listed, [("all", 1)]);
    let hidden = bench.app.assignment(&deployer.scope, "prod".to_owned()).await.unwrap_err();
    assert_eq!(reason(&hidden), Reason::NotFound);
    // What reaches none of the caller's nodes is told of to nobody, not even by a refusal.
    for (name, told) in [("all", Reason::PermissionDenied), ("prod", Reason::NotFound)] {
        let changed = bench.app.update_assignment(&deployer, assign(name, "env=x"), false).await;
        assert_eq!(reason(&changed.unwrap_err()), told);
        let deleted = bench.app.delete_assignment(&deployer, name.to_owned(), String::new()).await;
        assert_eq!(reason(&deleted.unwrap_err()), told);
        let taken = bench.app.create_assignment(&deployer, assign(name, "env=x"), false).await;
        assert_eq!(reason(&taken.unwrap_err()), Reason::AlreadyExists);
    }
    assert_eq!(bench.app.assignments(&whole(), page()).await.unwrap().rows.len(), 2);
}

#[tokio::test]
async fn nobody_gives_a_node_away() {
    let (bench, ids) = bench(&["dev"], "env=dev").await;
    let away = Edit { labels: Some(labels("prod")), ..Edit::default() };
    let refused = bench.app.edit_node(&dave(&bench), ids[0], away).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::PermissionDenied);
    assert_eq!(bench.app.node(&whole(), ids[0]).unwrap().node.labels, labels("dev"));
}

#[tokio::test]
async fn nobody_brings_a_node_under_another_role_of_their_own() {
    let (bench, ids) = bench(&["dev"], "role=web").await;
    let operator = Binding { name: "second".to_owned(), ..binding(DAVE, Role::Operator, "env=dev") };
    bench.write(move |tx| Ok(tx.binding_put(&operator)?)).await;
    bench.app.follow().await.unwrap();
    let with = |role: &str| {
        let labels = labels("dev").into_iter().chain([("role".to_owned(), role.to_owned())]).collect();
        Edit { labels: Some(labels), ..Edit::default() }
    };
    let refused = bench.app.edit_node(&dave(&bench), ids[0], with("web")).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::PermissionDenied, "he would be admin there");
    bench.app.edit_node(&dave(&bench), ids[0], with("db")).await.unwrap();
    bench.app.edit_node(&alice(), ids[0], with("web")).await.unwrap();
    bench.app.edit_node(&dave(&bench), ids[0], with("db")).await.unwrap();
}

#[tokio::test]
async fn a_watcher_that_reads_slowly_is_told_by_the_bindings_of_now() {
    let (bench, ids) = bench(&["dev", "prod"], "env in (dev,prod)").await;
    let read = scope(&bench, Permission::Read);
    let mut watch = bench.app.node_watch(read.clone(), Written::all()).unwrap();
    assert_eq!(bench.app.nodes_now(&watch).0, ids);
    assert!(bench.app.node_news(&mut watch, ids[0]).is_some());
    rebind(&bench, "env=dev").await;
    assert!(bench.app.node_news(&mut watch, ids[1]).is_none(), "it was read before, and is not told now");
    assert!(bench.app.may_still_see(&read, ids[0]) && !bench.app.may_still_see(&read, ids[1]));
    rebind(&bench, "env=test").await;
    assert!(matches!(bench.app.node_news(&mut watch, ids[0]), Some(NodeNews::Removed(_))));
}

/// What a watcher hears now: `+` and `-` with the place of the node.
async fn heard(bench: &Bench, watch: &mut NodeWatch, ids: &[NodeId], from: &mut u64) -> Vec<String> {
    let place = |id: NodeId| ids.iter().position(|known| *known == id).unwrap();
    let (changed, reached) = bench.app.node_changes(watch, *from).await.unwrap();
    *from = reached;
    let mut heard = Vec::new();
    for id in changed {
        match bench.app.node_news(watch, id) {
            Some(NodeNews::Upserted(view)) => heard.push(format!("+{}", place(view.node.id))),
            Some(NodeNews::Removed(id)) => heard.push(format!("-{}", place(id))),
            None => {}
        }
    }
    heard
}

async fn rebind(bench: &Bench, selector: &str) {
    let dave = binding(DAVE, Role::Viewer, selector);
    bench.write(move |tx| Ok(tx.binding_put(&dave)?)).await;
    bench.app.follow().await.unwrap();
}

#[tokio::test]
async fn a_watch_loses_a_node_the_moment_its_label_leaves_the_scope() {
    let (bench, ids) = bench(&["dev", "prod"], "env=dev").await;
    let mut watch = bench.app.node_watch(scope(&bench, Permission::Read), Written::all()).unwrap();
    let (now, mut from) = bench.app.nodes_now(&watch);
    assert_eq!(now, [ids[0]]);
    assert!(bench.app.node_news(&mut watch, ids[0]).is_some());
    edit(&bench, ids[1], labels("qa")).await;
    assert!(heard(&bench, &mut watch, &ids, &mut from).await.is_empty(), "not even that it is there");
    edit(&bench, ids[0], labels("prod")).await;
    assert_eq!(heard(&bench, &mut watch, &ids, &mut from).await, ["-0"]);
    edit(&bench, ids[0], labels("qa")).await;
    assert!(heard(&bench, &mut watch, &ids, &mut from).await.is_empty(), "it is gone, once");
    edit(&bench, ids[1], labels("dev")).await;
    assert_eq!(heard(&bench, &mut watch, &ids, &mut from).await, ["+1"]);
    assert_eq!(bench.app.node_token(&watch, from), "", "there is no resuming");
    let token = bench.app.resume_token(from);
    let refused = bench.app.resume_nodes_from(&watch, &token).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::ResumeTokenExpired);
}

#[tokio::test]
async fn a_watch_follows_the_bindings_of_its_caller() {
    let (bench, ids) = bench(&["dev", "prod", "test"], "*").await;
    let mut watch = bench.app.node_watch(scope(&bench, Permission::Read), Written::all()).unwrap();
    let mut from = bench.app.nodes_now(&watch).1;
    rebind(&bench, "env=dev").await;
    assert_eq!(heard(&bench, &mut watch, &ids, &mut from).await, ["-1", "-2"], "of all it was told");
    rebind(&bench, "env in (prod,dev)").await;
    assert_eq!(heard(&bench, &mut watch, &ids, &mut from).await, ["+1"]);
    rebind(&bench, "*").await;
    assert_eq!(heard(&bench, &mut watch, &ids, &mut from).await, ["+2"]);
    bench.app.may_watch(&watch).unwrap();
    bench.write(|tx| Ok(tx.binding_delete(DAVE)?)).await;
    bench.app.follow().await.unwrap();
    assert_eq!(heard(&bench, &mut watch, &ids, &mut from).await, ["-0", "-1", "-2"]);
    assert_eq!(reason(&bench.app.may_watch(&watch).unwrap_err()), Reason::PermissionDenied);
}

#[tokio::test]
async fn open_reads_end_when_nothing_is_left_of_the_right_to_them() {
    let (bench, _) = bench(&["dev"], "*").await;
    let (operation, _) = bench.app.start_operation(&alice(), wish("*")).await.unwrap();
    let (read, audit) = (scope(&bench, Permission::Read), scope(&bench, Permission::Audit));
    let filter = muster_domain::audit::Filter::default();
    bench.app.audit_news(&audit, &filter, 0).await.unwrap();
    rebind(&bench, "env=dev").await;
    assert_eq!(
        reason(&bench.app.audit_news(&audit, &filter, 0).await.unwrap_err()),
        Reason::PermissionDenied
    );
    bench.app.operation_news(&read, operation.id, &mut Place::default()).await.unwrap();
    bench.write(|tx| Ok(tx.binding_delete(DAVE)?)).await;
    bench.app.follow().await.unwrap();
    let ended = bench.app.operation_news(&read, operation.id, &mut Place::default()).await;
    assert_eq!(reason(&ended.unwrap_err()), Reason::PermissionDenied);
}

#[tokio::test]
async fn the_last_admin_on_every_node_stays() {
    let (bench, _) = bench(&[], "env=dev").await;
    let delete = async |name: &str| bench.app.delete_binding(&alice(), name.to_owned()).await;
    assert_eq!(reason(&delete("operator/alice").await.unwrap_err()), Reason::LastAdmin);
    let wish = bindings::Wish {
        name: "second".to_owned(),
        principal: "operator/d*".to_owned(),
        role: "admin".to_owned(),
        selector: " * ".to_owned(),
    };
    let made = bench.app.create_binding(&alice(), wish.clone()).await.unwrap();
    assert_eq!(made.selector, "*", "in its one form");
    assert_eq!(bench.app.create_binding(&alice(), wish.clone()).await.unwrap(), made, "safe to repeat");
    let other = bindings::Wish { role: "viewer".to_owned(), ..wish };
    let taken = bench.app.create_binding(&alice(), other).await.unwrap_err();
    assert_eq!(reason(&taken), Reason::AlreadyExists);
    delete("operator/alice").await.unwrap();
    assert_eq!(reason(&delete("second").await.unwrap_err()), Reason::LastAdmin);
    assert_eq!(reason(&delete("third").await.unwrap_err()), Reason::NotFound);
}

#[tokio::test]
async fn why_somebody_may_or_may_not_is_told() {
    let (bench, ids) = bench(&["dev", "prod"], "env=dev").await;
    let explain = |principal: &str, node: Option<NodeId>| {
        bench.app.explain_access(&alice(), principal, "muster.admin.v1.NodesService/GetNode", node).unwrap()
    };
    let dev = explain(DAVE, Some(ids[0]));
    assert!(dev.allowed && dev.why.contains(DAVE), "{dev:?}");
    let prod = explain(DAVE, Some(ids[1]));
    assert!(!prod.allowed, "{prod:?}");
    assert_eq!(prod.verdicts[0].1, muster_domain::access::Verdict::NodeOutside);
    assert!(!explain("operator/nobody", None).allowed);
    let unknown = bench.app.explain_access(&alice(), DAVE, "muster.admin.v1.NodesService/Nothing", None);
    assert_eq!(reason(&unknown.unwrap_err()), Reason::InvalidArgument);
    let absent = Some(NodeId::from_u128(99));
    let missing = bench.app.explain_access(&alice(), DAVE, "muster.admin.v1.NodesService/GetNode", absent);
    assert_eq!(reason(&missing.unwrap_err()), Reason::NotFound);
}

/// A node with these labels, in the store and in memory.
async fn labelled(bench: &Bench, number: u128, labels: Labels) -> NodeId {
    let node = muster_domain::node::Node { labels, ..node(number) };
    let id = node.id;
    bench.write(move |tx| Ok(tx.node_insert(&node)?)).await;
    id
}
