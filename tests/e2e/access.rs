//! Bindings: who may do what on which nodes, with real processes.

use std::{path::Path, process::Command};

use muster_common::reason::Reason;
use muster_proto::admin::v1::{self as pb, Liveness, watch_nodes_response::Event};
use muster_tests::{
    agent::Agent,
    binaries::repository,
    eventually::{LONG, eventually},
    operator::{Operator, reason, script},
    plane::{Options, Plane},
};
use tonic::{Code, Status};

/// Someone new with a binding of its own.
async fn someone(plane: &Plane, folder: &Path, name: &str, role: &str, selector: &str) -> Operator {
    let out = folder.join("people");
    let args = ["operator", "create", name, "--role", role, "--selector", selector, "--out"];
    let _ = plane.cli(&[&args[..], &[out.to_str().unwrap()]].concat());
    // Whoever asks too early is refused, and too many refusals are not written down.
    let admin = plane.operator().await;
    let request = pb::ExplainAccessRequest {
        principal: format!("operator/{name}"),
        method: "muster.admin.v1.SystemService/GetCaller".to_owned(),
        node_id: String::new(),
    };
    eventually("the binding is known", LONG, || async {
        let told = admin.access.clone().explain_access(request.clone()).await.ok()?.into_inner();
        told.allowed.then_some(())
    })
    .await;
    Operator::connect(plane.addresses().operators, plane.tls_of(&out, name)).await
}

/// Until the control plane has seen what the command line wrote.
async fn known(operator: &Operator) {
    eventually("the certificate is known", LONG, || async {
        operator.system.clone().get_caller(pb::GetCallerRequest {}).await.ok()
    })
    .await;
}

async fn label(admin: &Operator, id: &str, env: &str) -> Result<(), Status> {
    let labels = [("env".to_owned(), env.to_owned())].into();
    let node = pb::Node { id: id.to_owned(), labels, ..Default::default() };
    admin
        .nodes
        .clone()
        .update_node(pb::UpdateNodeRequest { node: Some(node), ..Default::default() })
        .await
        .map(drop)
}

fn refused<T>(answer: Result<T, Status>) -> (Code, Option<Reason>) {
    let status = answer.map(drop).expect_err("it is refused");
    (status.code(), reason(&status))
}

const NOT_FOUND: (Code, Option<Reason>) = (Code::NotFound, Some(Reason::NotFound));
const DENIED: (Code, Option<Reason>) = (Code::PermissionDenied, Some(Reason::PermissionDenied));

/// Two hosts, one in the scope `env=dev` and one outside of it.
async fn two_hosts(plane: &Plane, folder: &Path, admin: &Operator) -> (Agent, Agent) {
    let dev = Agent::start(folder, "dev", &plane.join(1, &[("env", "dev")]).await);
    let prod = Agent::start(folder, "prod", &plane.join(1, &[("env", "prod")]).await);
    for agent in [&dev, &prod] {
        admin.until_liveness(&agent.node, Liveness::Online).await;
    }
    (dev, prod)
}

#[tokio::test]
async fn an_operator_outside_its_scope_gets_nowhere_on_every_method_that_touches_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let admin = plane.operator().await;
    let (dev, prod) = two_hosts(&plane, folder.path(), &admin).await;
    let dora = someone(&plane, folder.path(), "dora", "admin", "env=dev").await;
    let before = admin.node(&prod.node).await.unwrap();

    assert_eq!(dora.select("").await, [dev.node.as_str()]);
    let system = dora.system.clone().get_system(pb::GetSystemRequest {}).await.unwrap().into_inner();
    assert_eq!((system.nodes.unwrap().total, system.sessions), (1, 1));
    on_nodes(&dora, &prod.node).await;
    on_operations(&admin, &dora, &prod.node).await;
    on_assignments(&admin, &dora).await;
    on_the_fleet(&dora).await;
    refusals_are_written_down(&admin).await;
    let after = admin.node(&prod.node).await.unwrap();
    assert_eq!((after.etag, after.labels), (before.etag, before.labels));
    assert!(after.quarantine.is_none());
}

async fn on_nodes(dora: &Operator, prod: &str) {
    let (id, reason) = (prod.to_owned(), String::new());
    let mut nodes = dora.nodes.clone();
    assert_eq!(refused(nodes.get_node(pb::GetNodeRequest { id: id.clone() }).await), NOT_FOUND);
    assert_eq!(refused(label(dora, prod, "dev").await), NOT_FOUND);
    let etag = String::new();
    let delete = pb::DeleteNodeRequest { id: id.clone(), etag, reason: reason.clone() };
    assert_eq!(refused(nodes.delete_node(delete).await), NOT_FOUND);
    let quarantine = pb::QuarantineNodeRequest { id: id.clone(), reason: reason.clone() };
    assert_eq!(refused(nodes.quarantine_node(quarantine).await), NOT_FOUND);
    let release = pb::ReleaseQuarantineRequest { id: id.clone(), reason, ..Default::default() };
    assert_eq!(refused(nodes.release_quarantine(release).await), NOT_FOUND);
    assert_eq!(refused(nodes.allow_recovery(pb::AllowRecoveryRequest { id }).await), NOT_FOUND);
}

async fn on_operations(admin: &Operator, dora: &Operator, prod: &str) {
    let foreign = admin.start("env=prod", script("sleep 600")).await;
    let both = admin.start("env", script("sleep 600")).await;
    let mut operations = dora.operations.clone();
    let get = pb::GetOperationRequest { id: foreign.clone() };
    assert_eq!(refused(operations.get_operation(get).await), NOT_FOUND);
    let list = pb::ListCommandsRequest { operation_id: foreign.clone(), ..Default::default() };
    assert_eq!(refused(operations.list_commands(list).await), NOT_FOUND);
    let watch = pb::WatchOperationRequest { id: foreign.clone(), ..Default::default() };
    assert_eq!(refused(operations.watch_operation(watch).await), NOT_FOUND);
    let cancel = |id: &str| pb::CancelOperationRequest { id: id.to_owned(), ..Default::default() };
    assert_eq!(refused(operations.cancel_operation(cancel(&foreign)).await), NOT_FOUND);
    assert_eq!(refused(operations.cancel_operation(cancel(&both)).await), DENIED);
    let listed = operations.list_operations(pb::ListOperationsRequest::default()).await.unwrap().into_inner();
    let shown: Vec<_> =
        listed.operations.iter().map(|it| (it.id.as_str(), it.counts.unwrap().total)).collect();
    assert_eq!(shown, [(both.as_str(), 1)]);
    assert!(!dora.commands(&both).await.contains_key(prod));
    let own = dora.start("*", script("true")).await;
    assert!(!admin.commands(&own).await.contains_key(prod), "it reaches the scope only");
    for id in [foreign, both] {
        admin.operations.clone().cancel_operation(cancel(&id)).await.unwrap();
    }
}

async fn on_assignments(admin: &Operator, dora: &Operator) {
    let profile = pb::SettingsProfile {
        name: "calm".to_owned(),
        values: [("facts-interval".to_owned(), "30m".to_owned())].into(),
        ..Default::default()
    };
    let put = pb::PutSettingsProfileRequest { profile: Some(profile), ..Default::default() };
    admin.settings.clone().put_settings_profile(put.clone()).await.unwrap();
    assert_eq!(refused(dora.settings.clone().put_settings_profile(put).await), DENIED);
    let assignment = |name: &str, selector: &str| {
        let target = pb::SettingsTarget { profile: "calm".to_owned(), version: 0 };
        pb::CreateAssignmentRequest {
            assignment: Some(pb::Assignment {
                name: name.to_owned(),
                selector: selector.to_owned(),
                target: Some(pb::assignment::Target::Settings(target)),
                ..Default::default()
            }),
            validate_only: false,
        }
    };
    admin.assignments.clone().create_assignment(assignment("prod", "env=prod")).await.unwrap();
    let name = || "prod".to_owned();
    let mut assignments = dora.assignments.clone();
    assert_eq!(
        refused(assignments.get_assignment(pb::GetAssignmentRequest { name: name() }).await),
        NOT_FOUND
    );
    let delete = pb::DeleteAssignmentRequest { name: name(), etag: String::new() };
    assert_eq!(refused(assignments.delete_assignment(delete).await), NOT_FOUND);
    for change in [
        pb::preview_assignment_request::Change::DeleteName("prod".to_owned()),
        pb::preview_assignment_request::Change::Assignment(assignment("prod", "env=dev").assignment.unwrap()),
    ] {
        let preview = pb::PreviewAssignmentRequest { change: Some(change) };
        assert_eq!(refused(assignments.preview_assignment(preview).await), NOT_FOUND);
    }
    let update = assignment("prod", "env=dev").assignment;
    let update = pb::UpdateAssignmentRequest { assignment: update, validate_only: false };
    assert_eq!(refused(assignments.update_assignment(update).await), NOT_FOUND);
    let made = assignments.create_assignment(assignment("mine", "*")).await.unwrap().into_inner();
    let made = made.assignment.unwrap();
    assert_eq!((made.scope.as_str(), made.matched_nodes), ("env=dev", 1));
}

/// What is about no node, or about all of them.
async fn on_the_fleet(dora: &Operator) {
    let token = pb::CreateJoinTokenRequest::default();
    assert_eq!(refused(dora.join_tokens.clone().create_join_token(token).await), DENIED);
    let list = pb::ListAuditEntriesRequest::default();
    assert_eq!(refused(dora.audit.clone().list_audit_entries(list).await), DENIED);
    let mut identity = dora.identity.clone();
    assert_eq!(refused(identity.get_authority(pb::GetAuthorityRequest {}).await), DENIED);
    assert_eq!(refused(identity.list_revocations(pb::ListRevocationsRequest {}).await), DENIED);
    let revoke = pb::RevokeRequest { subject: "operator/admin".to_owned(), reason: String::new() };
    assert_eq!(refused(identity.revoke(revoke).await), DENIED);
    let mut access = dora.access.clone();
    assert_eq!(refused(access.list_bindings(pb::ListBindingsRequest::default()).await), DENIED);
    let binding = pb::Binding {
        name: "more".to_owned(),
        principal: "operator/dora".to_owned(),
        role: "admin".to_owned(),
        selector: "*".to_owned(),
        ..Default::default()
    };
    let create = pb::CreateBindingRequest { binding: Some(binding) };
    assert_eq!(refused(access.create_binding(create).await), DENIED);
}

/// Those of the door, and those of what reached beyond the scope.
async fn refusals_are_written_down(admin: &Operator) {
    for method in ["OperationsService/CancelOperation", "JoinTokensService/CreateJoinToken"] {
        let request = pb::ListAuditEntriesRequest {
            actor: "operator/dora".to_owned(),
            subject: format!("/muster.admin.v1.{method}"),
            ..Default::default()
        };
        eventually("the refusal is in the audit", LONG, || async {
            let listed = admin.audit.clone().list_audit_entries(request.clone()).await.ok()?.into_inner();
            listed.entries.first().filter(|entry| entry.denied).map(drop)
        })
        .await;
    }
}

/// The next event of a watch that is no bookmark.
async fn next(watch: &mut tonic::Streaming<pb::WatchNodesResponse>) -> Result<Event, Status> {
    loop {
        let message = tokio::time::timeout(LONG, watch.message()).await.expect("something is told")?;
        let message = message.expect("the watch goes on");
        assert_eq!(message.resume_token, "", "such a watch is not resumed");
        match message.event.expect("an event") {
            Event::Bookmark(_) => {}
            event => return Ok(event),
        }
    }
}

#[tokio::test]
async fn a_watch_loses_a_node_when_its_label_or_the_binding_changes() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let admin = plane.operator().await;
    let (dev, prod) = two_hosts(&plane, folder.path(), &admin).await;
    let dora = someone(&plane, folder.path(), "dora", "viewer", "env=dev").await;
    let mut watch =
        dora.nodes.clone().watch_nodes(pb::WatchNodesRequest::default()).await.unwrap().into_inner();
    let is_of = |event: Event, id: &str| matches!(event, Event::Upserted(node) if node.id == id);
    assert!(is_of(next(&mut watch).await.unwrap(), &dev.node));
    label(&admin, &dev.node, "qa").await.unwrap();
    // What the host reports meanwhile is told as the same node again.
    let gone = |id: &str| Event::RemovedId(id.to_owned());
    while next(&mut watch).await.unwrap() != gone(&dev.node) {}
    label(&admin, &prod.node, "dev").await.unwrap();
    assert!(is_of(next(&mut watch).await.unwrap(), &prod.node));
    // Its own binding goes: first it loses what it was told, then the watch.
    let delete = pb::DeleteBindingRequest { name: "operator/dora".to_owned() };
    admin.access.clone().delete_binding(delete).await.unwrap();
    while next(&mut watch).await.unwrap() != gone(&prod.node) {}
    assert_eq!(refused(next(&mut watch).await), DENIED);
    assert_eq!(refused(dora.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await), DENIED);
}

#[tokio::test]
async fn a_caller_that_is_renewed_keeps_its_bindings_and_one_that_is_revoked_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let out = folder.path().join("people");
    let out = out.to_str().unwrap();
    let old = someone(&plane, folder.path(), "olga", "viewer", "env=dev").await;
    let written = plane.cli(&["operator", "renew", "olga", "--out", out]);
    assert!(written.trim().ends_with("olga.crt"), "{written}");
    let tls = plane.tls_of(Path::new(out), "olga");
    let new = Operator::connect(plane.addresses().operators, tls).await;
    known(&new).await;
    let caller = new.system.clone().get_caller(pb::GetCallerRequest {}).await.unwrap().into_inner();
    assert_eq!((caller.role.as_str(), caller.bindings[0].selector.as_str()), ("viewer", "env=dev"));
    eventually("the old certificate is refused", LONG, || async {
        old.system.clone().get_caller(pb::GetCallerRequest {}).await.err()
    })
    .await;
    let listed = plane.cli(&["operator", "list"]);
    assert!(
        listed.lines().any(|line| line.starts_with("operator/olga") && line.contains("viewer on env=dev")),
        "{listed}"
    );
    let _ = plane.cli(&["operator", "revoke", "olga", "--reason", "left"]);
    eventually("the caller is refused", LONG, || async {
        new.system.clone().get_caller(pb::GetCallerRequest {}).await.err()
    })
    .await;
    assert!(plane.cli(&["operator", "list"]).contains("revoked"));
    let again = plane.try_cli(&["operator", "renew", "olga", "--out", out]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("revoked"), "{again:?}");
    assert!(!plane.try_cli(&["operator", "renew", "nobody"]).status.success());
}

#[tokio::test]
async fn a_service_runs_a_script_on_its_nodes_and_waits() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let admin = plane.operator().await;
    let (dev, prod) = two_hosts(&plane, folder.path(), &admin).await;
    let certs = folder.path().join("certs");
    let create = ["service", "create", "ci", "--role", "operator", "--selector", "env=dev", "--out"];
    let _ = plane.cli(&[&create[..], &[certs.to_str().unwrap()]].concat());
    for end in ["crt", "key"] {
        std::fs::copy(certs.join(format!("ci.{end}")), certs.join(format!("service.{end}"))).unwrap();
    }
    known(&Operator::connect(plane.addresses().operators, plane.tls_of(&certs, "ci")).await).await;
    let run = async |selector: &str, job: &str| {
        let mut command = Command::new(repository().join(".tools/venv/bin/python"));
        command.arg(repository().join("deploy/examples/service/run.py"));
        command.args(["--selector", selector, "--job", job, "echo from a service"]);
        command.env("MUSTER_ADDRESS", plane.addresses().operators.to_string()).env("MUSTER_CERTS", &certs);
        let mut command = tokio::process::Command::from(command);
        let done = tokio::time::timeout(LONG * 2, command.kill_on_drop(true).output()).await;
        let done = done.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let (code, out, err) = run("*", "build-17").await;
    assert!(
        code == Some(0) && out.contains(&format!("{}  succeeded  from a service", dev.node)),
        "{out}{err}"
    );
    assert!(!out.contains(&prod.node) && err.contains("service/ci is operator on env=dev"), "{out}{err}");
    let (code, again, err) = run("*", "build-17").await;
    assert_eq!((code, again), (Some(0), out), "the same operation, not another run: {err}");
    let (code, _, _) = run("env=prod", "build-18").await;
    assert_eq!(code, Some(1), "no host of its scope");
    assert!(plane.cli(&["service", "list"]).starts_with("service/ci\t"));
    let _ = plane.cli(&["service", "revoke", "ci"]);
    eventually("the service is refused", LONG, || async {
        let (code, _, err) = run("*", "build-19").await;
        (code == Some(2) && err.contains("CERTIFICATE_REVOKED")).then_some(())
    })
    .await;
}
