//! One trace from an operator's call to the hook or script on the host, as a collector gets it.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use muster_common::trace::{Context, SpanId, TraceId};
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::BundleContent,
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, file, reason, script, sh},
    otlp::{Collector, Part, Trace, word},
    plane::{Options, Plane},
};
use tokio::net::{TcpListener, TcpSocket};
use tonic::Request;

pub(super) const HERE: &str = "muster-control-plane";
pub(super) const HOST: &str = "muster-node-agent";

pub(super) struct Lab {
    _plane: Plane,
    pub(super) operator: Operator,
    pub(super) agent: Agent,
    pub(super) collector: Collector,
}

/// A host, and a control plane whose traces somebody collects.
pub(super) async fn lab(folder: &std::path::Path, sample: &str) -> Lab {
    let collector = Collector::start().await;
    let mut plane = Plane::init(folder, &Options::default());
    plane.configure_in("traces", "endpoint", &collector.endpoint());
    plane.configure_in("traces", "sample", sample);
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[("role", "web")]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    // What selectors see of it is stored: it changes no item of the node any more.
    let selector = format!("facts.architecture={}", std::env::consts::ARCH);
    eventually("its facts are stored", LONG, || async {
        (operator.select(&selector).await.len() == 1).then_some(())
    })
    .await;
    Lab { _plane: plane, operator, agent, collector }
}

/// Where a caller is in a trace of its own.
pub(super) fn caller(sampled: bool) -> Context {
    Context { trace: TraceId::generate(), span: SpanId::generate(), sampled }
}

pub(super) fn within<T>(caller: &Context, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", caller.to_string().parse().unwrap());
    request
}

/// What a program is told of the part that it is.
pub(super) fn place(part: &Part) -> String {
    format!("00-{}-{}-01", hex::encode(&part.span.trace_id), hex::encode(&part.span.span_id))
}

fn script_on_all(text: &str) -> pb::StartOperationRequest {
    let (selector, spec) = ("*".to_owned(), Some(script(text)));
    pb::StartOperationRequest { selector, spec, ..Default::default() }
}

fn assignment(version: u64) -> pb::CreateAssignmentRequest {
    let target = pb::BundleTarget { name: "app".to_owned(), version };
    let assignment = Some(pb::Assignment {
        name: "app".to_owned(),
        selector: "role=web".to_owned(),
        target: Some(pb::assignment::Target::Bundle(target)),
        ..Default::default()
    });
    pb::CreateAssignmentRequest { assignment, validate_only: false }
}

impl Lab {
    async fn run(&self, caller: &Context, text: &str) -> String {
        let request = within(caller, script_on_all(text));
        let started = self.operator.operations.clone().start_operation(request).await.unwrap();
        let id = started.into_inner().operation.unwrap().id;
        self.operator.ended(&id, LONG).await;
        id
    }

    async fn collected(&self, caller: &Context, names: &[(&str, &str)]) -> Trace {
        collected(&self.collector, caller, names).await
    }
}

/// Waits until these parts of a trace have come; others may.
pub(super) async fn collected(collector: &Collector, caller: &Context, names: &[(&str, &str)]) -> Trace {
    let wanted: BTreeSet<String> = names.iter().map(|(service, name)| format!("{service}: {name}")).collect();
    eventually(&format!("{wanted:?} are collected"), LONG, || async {
        let trace = collector.of(caller);
        wanted.is_subset(&trace.names()).then_some(trace)
    })
    .await
}

#[tokio::test]
async fn a_command_is_one_trace_from_the_call_to_the_script_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), "0.0").await;
    let caller = caller(true);
    let told = lab.agent.file("told");
    let id = lab.run(&caller, &format!("printf %s \"$TRACEPARENT\" > {}; exit 3", told.display())).await;
    let call = "muster.admin.v1.OperationsService/StartOperation";
    let parts = [
        (HERE, call),
        (HERE, "store write"),
        (HERE, "operation run-script"),
        (HERE, "command run-script"),
        (HERE, "deliver"),
        (HOST, "run run-script"),
        (HOST, "wait"),
        (HOST, "run"),
    ];
    let trace = lab.collected(&caller, &parts).await;
    trace.assert_tree();
    assert_eq!(trace.parts.len(), parts.len(), "{:#?}", trace.names());
    let run = trace.named("run")[0];
    assert_eq!(run.host, lab.agent.node);
    assert_eq!(lab.agent.read("told"), Some(place(run)), "the script can go on with the trace");
    assert_eq!(
        trace.way_up(run),
        [
            format!("{HOST}: run"),
            format!("{HOST}: run run-script"),
            format!("{HERE}: command run-script"),
            format!("{HERE}: operation run-script"),
            format!("{HERE}: {call}"),
        ]
    );
    let command = trace.named("command run-script")[0];
    for failed in [run, command] {
        assert_eq!(failed.span.status.as_ref().unwrap().message, "EXIT_STATUS");
    }
    assert_eq!(word(&command.span.attributes, "muster.node.id"), lab.agent.node);
    let operation = lab.operator.operation(&id).await;
    assert_eq!(operation.trace_id, caller.trace.to_string(), "the operation tells of its trace as before");
}

#[tokio::test]
async fn a_change_of_desired_state_is_one_trace_from_the_call_to_the_hook_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), "0.0").await;
    let content = BundleContent {
        files: vec![file(&lab.agent.file("app.conf"), "ours\n")],
        validate: sh("true"),
        on_change: sh("true"),
        probe: sh(&format!("printf %s \"$TRACEPARENT\" > {}", lab.agent.file("told").display())),
        ..BundleContent::default()
    };
    let (version, sha256) = lab.operator.bundle("app", content).await;
    let caller = caller(true);
    let request = within(&caller, assignment(version));
    lab.operator.assignments.clone().create_assignment(request).await.unwrap();
    lab.operator.until_attempted(&lab.agent.node, "bundle/app", &sha256).await;
    let call = "muster.admin.v1.AssignmentsService/CreateAssignment";
    let parts = [
        (HERE, call),
        (HERE, "store write"),
        (HERE, "item bundle/app"),
        (HERE, "store report"),
        (HOST, "apply bundle/app"),
        (HOST, "stage"),
        (HOST, "hook validate"),
        (HOST, "swap"),
        (HOST, "hook on_change"),
        (HOST, "hook probe"),
        (HOST, "commit"),
    ];
    let trace = lab.collected(&caller, &parts).await;
    trace.assert_tree();
    assert_eq!(trace.parts.len(), parts.len(), "{:#?}", trace.names());
    let probe = trace.named("hook probe")[0];
    assert_eq!(probe.host, lab.agent.node);
    assert_eq!(lab.agent.read("told"), Some(place(probe)), "the hook can go on with the trace");
    assert_eq!(
        trace.way_up(probe),
        [
            format!("{HOST}: hook probe"),
            format!("{HOST}: apply bundle/app"),
            format!("{HERE}: item bundle/app"),
            format!("{HERE}: {call}"),
        ]
    );
    let item = trace.named("item bundle/app")[0];
    assert_eq!(word(&item.span.attributes, "muster.outcome"), "applied");
    assert!(trace.parts.iter().all(|part| part.span.status.is_none()), "all of it went well");
}

#[tokio::test]
async fn a_call_that_is_not_sampled_is_not_collected_and_the_ratio_can_be_set_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), "0.0").await;
    let (no, yes) = (caller(false), caller(true));
    lab.run(&no, "true").await;
    let set = |ratio| pb::SetTraceSamplingRequest { ratio };
    let mut system = lab.operator.system.clone();
    let wrong = system.set_trace_sampling(set(Some(1.5))).await.unwrap_err();
    assert_eq!(reason(&wrong), Some(muster_common::reason::Reason::InvalidArgument));
    // Whoever says nothing is traced from now on, and whoever says no is not.
    let traces = system.set_trace_sampling(set(Some(1.0))).await.unwrap().into_inner().traces.unwrap();
    assert!(traces.exported && traces.is_set && (traces.ratio - 1.0).abs() < f64::EPSILON);
    let id = lab.operator.start("*", script("true")).await;
    lab.operator.ended(&id, LONG).await;
    let trace_id = lab.operator.operation(&id).await.trace_id;
    let of_own = || -> Vec<Part> {
        let all = lab.collector.all().into_iter();
        all.filter(|part| hex::encode(&part.span.trace_id) == trace_id).collect()
    };
    eventually("the host's part of a trace without a caller's own is collected", LONG, || {
        std::future::ready(of_own().iter().any(|part| part.service == HOST).then_some(()))
    })
    .await;
    let roots = of_own().into_iter().filter(|part| part.span.parent_span_id.is_empty());
    assert_eq!(roots.count(), 1, "the call is its root");
    // Back to what the configuration says; what is sampled after it has come when this has.
    let traces = system.set_trace_sampling(set(None)).await.unwrap().into_inner().traces.unwrap();
    assert!(!traces.is_set && traces.ratio == 0.0);
    let (before, unasked) = (lab.collector.all().len(), lab.operator.start("*", script("true")).await);
    lab.operator.ended(&unasked, LONG).await;
    let unasked = lab.operator.operation(&unasked).await.trace_id;
    lab.run(&yes, "true").await;
    lab.collected(&yes, &[(HOST, "run")]).await;
    let all = lab.collector.all();
    assert!(all.len() > before);
    assert!(all.iter().all(|part| hex::encode(&part.span.trace_id) != unasked));
    assert!(lab.collector.of(&no).parts.is_empty(), "{:#?}", lab.collector.of(&no).names());
    let request = pb::ListAuditEntriesRequest { page_size: 100, ..Default::default() };
    let entries = lab.operator.audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries;
    let sets = entries.iter().filter(|entry| entry.action == "system.set-trace-sampling");
    assert_eq!(sets.count(), 2);
}

#[tokio::test]
async fn a_collector_that_is_dead_harms_nobody_and_gets_what_comes_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    // The port is kept, and nobody listens there yet.
    let place = TcpSocket::new_v4().unwrap();
    place.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nobody = place.local_addr().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure_in("traces", "endpoint", &format!("\"http://{nobody}\""));
    plane.configure_in("traces", "sample", "1.0");
    plane.serve(&[]).await;
    let (operator, join) = (plane.operator().await, plane.join(1, &[]).await);
    let agent = Agent::start(folder.path(), "host", &join);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let run = async || {
        let id = operator.start("*", script("true")).await;
        assert_eq!(operator.ended(&id, Duration::from_secs(20)).await.len(), 1);
        operator.operation(&id).await.trace_id
    };
    run().await;
    eventually("what cannot be exported is counted", LONG, || async {
        (plane.metric("muster_spans_total{what=\"failed\"}").await > 0).then_some(())
    })
    .await;
    let collector = Collector::on(place.listen(64).unwrap());
    let trace_id = run().await;
    let is_it = |part: &Part| part.service == HOST && hex::encode(&part.span.trace_id) == trace_id;
    eventually("what comes later is collected", LONG, || async {
        collector.all().iter().any(is_it).then_some(())
    })
    .await;
    // It is counted when the collector's answer is there, a moment after the collector has it.
    eventually("what is exported is counted", LONG, || async {
        (plane.metric("muster_spans_total{what=\"exported\"}").await > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_takes_and_never_answers_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    // The kernel takes what comes, and nobody reads it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure_in("traces", "endpoint", &format!("\"http://{}\"", silent.local_addr().unwrap()));
    plane.configure_in("traces", "sample", "1.0");
    plane.serve(&[]).await;
    let (operator, join) = (plane.operator().await, plane.join(1, &[]).await);
    let mut agent = Agent::start(folder.path(), "host", &join);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    for _ in 0..5 {
        let id = operator.start("*", script("true")).await;
        assert_eq!(operator.ended(&id, Duration::from_secs(10)).await.len(), 1);
    }
    let (stream, _) = silent.accept().await.unwrap();
    agent.kill();
    drop(operator);
    // Longer than its last words may take, and shorter than all tries of one message.
    let ended = tokio::time::timeout(Duration::from_secs(15), plane.process().stop()).await;
    assert!(ended.expect("it ends all the same").success());
    drop(stream);
}

#[tokio::test]
async fn a_call_that_its_caller_gives_up_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), "0.0").await;
    let caller = caller(true);
    let tries = Cell::new(0);
    // It is given up on its way, before its answer: soon enough, and not too soon, once in some tries.
    let given_up = || async {
        tries.set(tries.get() % 20 + 1);
        let request = within(&caller, script_on_all("true"));
        let mut operations = lab.operator.operations.clone();
        let call = operations.start_operation(request);
        let _ = tokio::time::timeout(Duration::from_millis(tries.get()), call).await;
        let told = lab.collector.of(&caller).parts;
        let is_given_up = |part: &Part| part.span.status.as_ref().is_some_and(|it| it.message == "cancelled");
        told.iter().any(is_given_up).then_some(())
    };
    eventually("a call that was given up is collected", LONG, given_up).await;
}
