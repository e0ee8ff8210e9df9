//! Scripts that do not behave: they are ended whole, in time, and what they said is
//! counted to the byte.

use std::time::Duration;

use muster_common::clock::Clock;
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    types::v1::{CommandState, ErrorReason},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::{Options, Plane},
};

/// Output that is kept of one command.
const KEPT: usize = 1024 * 1024;
/// Between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(5);

async fn host(folder: &std::path::Path) -> (Plane, Operator, Agent) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    (plane, operator, agent)
}

async fn start(operator: &Operator, text: &str, seconds: i64) -> String {
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script(text)),
        run_timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    let answer = operator.operations.clone().start_operation(request).await.unwrap().into_inner();
    answer.operation.unwrap().id
}

async fn cancel(operator: &Operator, operation: &str) {
    let request = pb::CancelOperationRequest { id: operation.to_owned(), ..Default::default() };
    operator.operations.clone().cancel_operation(request).await.unwrap();
}

async fn ended(operator: &Operator, agent: &Agent, operation: &str) -> NodeCommand {
    operator.ended(operation, LONG).await[&agent.node].clone()
}

/// Process ids that a script has written into a file, one a line.
async fn processes(agent: &Agent, name: &str, count: usize) -> Vec<u32> {
    eventually("the script says its processes", LONG, || async {
        let text = agent.read(name)?;
        let ids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (ids.len() == count && text.ends_with('\n')).then_some(ids)
    })
    .await
}

/// Whether a process lives. One that nobody has waited for yet does not.
fn lives(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

async fn gone(ids: &[u32]) {
    eventually("nothing of the script is left", LONG, || {
        std::future::ready((!ids.iter().any(|id| lives(*id))).then_some(()))
    })
    .await;
}

/// A script whose shell, child and grandchild all turn a deaf ear.
fn deaf(agent: &Agent) -> String {
    let file = agent.file("processes");
    let file = file.display();
    format!(
        "trap '' TERM INT HUP\necho $$ >> {file}\n\
         (echo $(exec sh -c 'echo $PPID') >> {file}; sh -c 'echo $$ >> {file}; while :; do sleep 0.1; done'; :) &\n\
         while :; do sleep 0.1; done\n"
    )
}

#[tokio::test]
async fn a_script_that_ignores_the_request_to_end_is_killed_with_all_that_it_forked() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let operation = start(&operator, &deaf(&agent), 600).await;
    let ids = processes(&agent, "processes", 3).await;
    assert!(ids.iter().all(|id| lives(*id)), "{ids:?}");
    let begun = Clock::System.monotonic();
    cancel(&operator, &operation).await;
    let command = ended(&operator, &agent, &operation).await;
    assert_eq!(
        (command.state(), command.reason()),
        (CommandState::Cancelled, ErrorReason::CancelledByOperator)
    );
    assert!(Clock::System.monotonic() - begun >= GRACE, "it had its time to end by itself");
    gone(&ids).await;
}

#[tokio::test]
async fn a_script_that_outlives_its_time_is_killed_with_all_that_it_forked() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let operation = start(&operator, &deaf(&agent), 2).await;
    let ids = processes(&agent, "processes", 3).await;
    let command = ended(&operator, &agent, &operation).await;
    assert_eq!((command.state(), command.reason()), (CommandState::TimedOut, ErrorReason::FinishByPassed));
    gone(&ids).await;
}

#[tokio::test]
async fn what_a_script_leaves_behind_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let file = agent.file("processes");
    let text = format!("sleep 600 & echo $! >> {}; echo done", file.display());
    let command = ended(&operator, &agent, &start(&operator, &text, 600).await).await;
    assert_eq!((command.state(), command.stdout.as_ref()), (CommandState::Succeeded, &b"done\n"[..]));
    gone(&processes(&agent, "processes", 1).await).await;
}

#[tokio::test]
async fn output_is_kept_up_to_its_limit_and_what_is_cut_is_counted_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let line = "0123456789abcde\n";
    let said = 3 * KEPT;
    let text = format!("yes {} | head -c {said}", line.trim());
    let command = ended(&operator, &agent, &start(&operator, &text, 600).await).await;
    assert_eq!(command.state(), CommandState::Succeeded, "what nobody keeps stops no script");
    let dropped = usize::try_from(command.dropped_output_bytes).unwrap();
    let marker = format!("[muster: output cut here, {dropped} bytes not kept]\n");
    let kept = command.stdout.strip_suffix(marker.as_bytes()).expect("the last line says so");
    assert_eq!(kept.len() + dropped, said);
    assert!((KEPT - 256..=KEPT).contains(&command.stdout.len()), "{}", command.stdout.len());
    assert!(kept.chunks(line.len()).all(|chunk| chunk == line.as_bytes()), "whole lines, and in their order");
}

#[tokio::test]
async fn output_may_be_any_bytes_on_either_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let text = r"printf '\000\377\200\n\001'; printf '\376\000' >&2; head -c 1000 /dev/zero";
    let command = ended(&operator, &agent, &start(&operator, text, 600).await).await;
    let mut stdout = b"\x00\xff\x80\n\x01".to_vec();
    stdout.resize(stdout.len() + 1000, 0);
    assert_eq!(command.stdout.as_ref(), stdout);
    assert_eq!(command.stderr.as_ref(), b"\xfe\x00");
    assert_eq!(command.dropped_output_bytes, 0);
}

#[tokio::test]
async fn a_script_ended_by_a_signal_says_by_which() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    let command = ended(&operator, &agent, &start(&operator, "kill -SEGV $$", 600).await).await;
    assert_eq!((command.state(), command.reason()), (CommandState::Failed, ErrorReason::ExitStatus));
    assert_eq!(command.signal, 11);
}
