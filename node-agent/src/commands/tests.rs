mod denied;
mod lanes;
mod output;

use std::time::Duration;

use muster_common::{
    clock::UnixMillis,
    drain::Drain,
    ids::OperationId,
    reason::Reason,
    tasks::{Kind, Tasks},
};
use muster_proto::types::v1::{self as types, command_result};
use prost::Message as _;

mod each_kind;

use super::*;
use crate::ledger::Ledger;
use each_kind::Alone;

struct Room {
    folder: tempfile::TempDir,
    handle: Handle,
    drain: Drain,
    tasks: Tasks,
    refresh_facts: Arc<Notify>,
    restart: CancellationToken,
    ledger: Shared,
    server_time: ServerTime,
}

/// A room over a folder; `rules` is the host's lock file.
async fn room(folder: tempfile::TempDir, rules: &str) -> Room {
    let server_time = ServerTime::default();
    let now = Clock::System.monotonic();
    server_time.learn(Clock::System.now(), now, now);
    room_at(folder, rules, server_time).await
}

async fn room_at(folder: tempfile::TempDir, rules: &str, server_time: ServerTime) -> Room {
    std::fs::write(folder.path().join("locks.toml"), rules).unwrap();
    let ledger = Shared::new(Ledger::open(&folder.path().join("ledger"), Clock::System).unwrap());
    let options = options(folder.path(), server_time.clone());
    let (refresh_facts, restart) = (Arc::clone(&options.refresh_facts), options.restart.clone());
    let (handle, task) = open(options, ledger.clone()).await.unwrap();
    handle.limit_output(50_000);
    let (drain, tasks) = (Drain::default(), Tasks::default());
    tasks.spawn("commands", Kind::BestEffort, task.run(drain.clone()));
    Room { folder, handle, drain, tasks, refresh_facts, restart, ledger, server_time }
}

fn options(folder: &std::path::Path, server_time: ServerTime) -> Options {
    Options {
        scripts: folder.join("scripts"),
        runs: None,
        hands: Hands::Here,
        locks: locks::Reader::new(folder.join("locks.toml")),
        clock: Clock::System,
        server_time,
        refresh_facts: Arc::default(),
        restart: CancellationToken::new(),
        instance: InstanceId::generate(),
        rebooting: Arc::default(),
        errands: Arc::new(Alone),
        pauses: Pauses::default(),
        deeds: None,
    }
}

const OPEN: &str = "[commands]\nrun-script = true\n";

impl Room {
    async fn end(self) -> tempfile::TempDir {
        self.drain.begin();
        self.tasks.close();
        self.tasks.ended().await;
        self.folder
    }

    async fn ended(&self, id: CommandId) -> Vec<Report> {
        let mut changed = self.handle.changed();
        let wait = async {
            loop {
                changed.borrow_and_update();
                let reports = self.handle.reports(id, 0, usize::MAX).await;
                if reports.last().is_some_and(|report| report.state.is_end()) {
                    return reports;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the command ends")
    }

    async fn fill_disk(&self, full: bool) {
        self.ledger.with(move |ledger| ledger.fill_disk(full)).await;
    }

    /// Returns when all that was asked for before is done.
    async fn heard(&self) {
        self.handle.acked(CommandId::generate(), 0).await;
        let heard = async {
            while self.handle.requests.capacity() < QUEUE {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), heard).await.expect("the task listens");
    }

    async fn running(&self, id: CommandId, text: &str) {
        let mut changed = self.handle.changed();
        let wait = async {
            while !output(&self.handle.reports(id, 0, usize::MAX).await).contains(text) {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the command speaks");
    }
}

fn script(text: &str) -> Ticket {
    let args = types::RunScript { script: text.to_owned(), ..types::RunScript::default() };
    ticket("run-script", args.encode_to_vec())
}

fn ticket(kind: &str, args: Vec<u8>) -> Ticket {
    Ticket {
        id: CommandId::generate(),
        operation: OperationId::generate(),
        kind: kind.to_owned(),
        args,
        not_before: None,
        deliver_by: Clock::System.now() + Duration::from_secs(60),
        finish_by: None,
        lane: String::new(),
        trace: String::new(),
        traceparent: String::new(),
        came: None,
        epoch: 1,
    }
}

fn output(reports: &[Report]) -> String {
    let data: Vec<u8> =
        reports.iter().filter_map(|r| r.output.as_ref()).flat_map(|c| c.data.clone()).collect();
    String::from_utf8(data).unwrap()
}

fn end(reports: &[Report]) -> (CommandState, Option<Reason>) {
    let end = reports.last().unwrap();
    (end.state, end.reason)
}

async fn outcome(rules: &str, ticket: Ticket) -> Vec<Report> {
    let room = room(tempfile::tempdir().unwrap(), rules).await;
    room.handle.deliver(ticket.clone()).await;
    let reports = room.ended(ticket.id).await;
    room.end().await;
    reports
}

#[tokio::test]
async fn a_script_runs_once_and_says_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let counter = folder.path().join("count");
    let order = script(&format!("echo out; echo err >&2; echo x >> {}; exit 3", counter.display()));
    let room = room(folder, OPEN).await;
    for _ in 0..3 {
        room.handle.deliver(order.clone()).await;
    }
    let reports = room.ended(order.id).await;
    assert_eq!(end(&reports), (CommandState::Failed, Some(Reason::ExitStatus)));
    assert_eq!(reports.last().unwrap().exit_code, Some(3));
    assert!(reports.iter().map(|report| report.seq).eq(1..=reports.len() as u64));
    let said = output(&reports);
    assert!(said.contains("out\n") && said.contains("err\n"), "{said}");
    room.handle.deliver(order.clone()).await;
    room.handle.acked(order.id, reports.len() as u64).await;
    room.handle.deliver(order).await;
    let _folder = room.end().await;
    assert_eq!(std::fs::read_to_string(counter).unwrap(), "x\n");
}

#[tokio::test]
async fn what_the_host_does_not_allow_is_denied() {
    let reports = outcome("", script("echo no")).await;
    assert_eq!(end(&reports), (CommandState::Denied, Some(Reason::LocalLock)));
    assert_eq!(reports.len(), 1, "nothing was started");
}

#[tokio::test]
async fn bad_orders_end_with_a_reason_before_anything_starts() {
    let cases = [
        (ticket("dance", Vec::new()), CommandState::Failed, Reason::CommandKindUnknown),
        (ticket("run-script", vec![0xff]), CommandState::Failed, Reason::CommandArgsInvalid),
        (script(""), CommandState::Failed, Reason::CommandArgsInvalid),
        (
            Ticket { deliver_by: UnixMillis(5), ..script("echo") },
            CommandState::Expired,
            Reason::DeliverByPassed,
        ),
        (
            Ticket { finish_by: Some(UnixMillis(5)), ..script("echo") },
            CommandState::TimedOut,
            Reason::FinishByPassed,
        ),
    ];
    for (order, state, reason) in cases {
        let reports = outcome(OPEN, order).await;
        assert_eq!((end(&reports), reports.len()), ((state, Some(reason)), 1));
    }
}

#[tokio::test]
async fn a_missing_interpreter_is_a_failed_start() {
    let args = types::RunScript {
        script: "x".to_owned(),
        interpreter: vec!["/nonexistent".to_owned()],
        ..Default::default()
    };
    let reports = outcome(OPEN, ticket("run-script", args.encode_to_vec())).await;
    assert_eq!(end(&reports), (CommandState::Failed, Some(Reason::StartFailed)));
}

#[tokio::test]
async fn a_script_is_stopped_when_asked_or_when_its_time_is_over() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let asked = script("echo here; sleep 600");
    let late =
        Ticket { finish_by: Some(Clock::System.now() + Duration::from_millis(300)), ..script("sleep 600") };
    room.handle.deliver(asked.clone()).await;
    room.handle.deliver(late.clone()).await;
    room.running(asked.id, "here").await;
    room.handle.cancel(asked.id, false).await;
    assert_eq!(
        end(&room.ended(asked.id).await),
        (CommandState::Cancelled, Some(Reason::CancelledByOperator))
    );
    assert_eq!(end(&room.ended(late.id).await), (CommandState::TimedOut, Some(Reason::FinishByPassed)));
    room.end().await;
}

#[tokio::test]
async fn a_script_that_does_not_listen_is_killed_at_once_when_forced() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let order = script("trap 'echo asked' TERM; echo here; while :; do sleep 0.1; done");
    room.handle.deliver(order.clone()).await;
    room.running(order.id, "here").await;
    room.handle.cancel(order.id, false).await;
    room.running(order.id, "asked").await;
    room.handle.cancel(order.id, true).await;
    // Well before the time that it was given to end by itself is over.
    let reports = tokio::time::timeout(Duration::from_secs(3), room.ended(order.id)).await;
    let reports = reports.expect("it was killed");
    assert_eq!(end(&reports), (CommandState::Cancelled, Some(Reason::CancelledByOperator)));
    room.end().await;
}

#[tokio::test]
async fn an_order_waits_for_its_time_and_can_be_cancelled_before_it() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let order = Ticket { not_before: Some(Clock::System.now() + Duration::from_secs(600)), ..script("echo") };
    room.handle.deliver(order.clone()).await;
    room.handle.cancel(order.id, false).await;
    let reports = room.ended(order.id).await;
    assert_eq!((end(&reports).0, reports.len()), (CommandState::Cancelled, 1));
    room.end().await;
}

#[tokio::test]
async fn what_a_former_process_did_not_see_end_is_interrupted_and_never_repeated() {
    let first = room(tempfile::tempdir().unwrap(), OPEN).await;
    let count = first.folder.path().join("count");
    let order = script(&format!("echo x >> {}; echo here; sleep 600", count.display()));
    first.handle.deliver(order.clone()).await;
    first.running(order.id, "here").await;
    let again = room(first.end().await, OPEN).await;
    again.handle.deliver(order.clone()).await;
    let reports = again.ended(order.id).await;
    assert_eq!(end(&reports), (CommandState::Interrupted, Some(Reason::AgentStopped)));
    assert!(output(&reports).contains("here"), "what it had said is kept");
    let _folder = again.end().await;
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}

#[tokio::test]
async fn a_restart_succeeds_in_the_process_after_it() {
    let first = room(tempfile::tempdir().unwrap(), "").await;
    let order = ticket("restart-agent", Vec::new());
    first.handle.deliver(order.clone()).await;
    first.restart.cancelled().await;
    let again = room(first.end().await, "").await;
    let reports = again.ended(order.id).await;
    assert_eq!(end(&reports), (CommandState::Succeeded, None));
    let Some(command_result::Kind::RestartAgent(told)) = each_kind::result(&reports) else {
        panic!("{reports:?}")
    };
    assert!(!told.old_instance_id.is_empty() && told.old_instance_id != told.new_instance_id);
    again.end().await;
}

#[tokio::test]
async fn a_restart_that_nobody_asked_for_yet_is_not_told_as_done() {
    let first = room(tempfile::tempdir().unwrap(), "").await;
    let order = ticket("restart-agent", Vec::new());
    let begun = order.clone();
    let begin = move |ledger: &mut Ledger| ledger.take(&begun).and_then(|_| ledger.started(begun.id));
    first.ledger.with(begin).await.unwrap();
    let again = room(first.end().await, "").await;
    assert_eq!(end(&again.ended(order.id).await).0, CommandState::Interrupted);
    again.end().await;
}

#[tokio::test]
async fn facts_are_read_again_when_asked() {
    let room = room(tempfile::tempdir().unwrap(), "").await;
    let order = ticket("refresh-facts", Vec::new());
    room.handle.deliver(order.clone()).await;
    assert_eq!(end(&room.ended(order.id).await).0, CommandState::Succeeded);
    room.refresh_facts.notified().await;
    room.end().await;
}

#[tokio::test]
async fn an_order_that_came_twice_while_the_disk_was_full_runs_once() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let count = room.folder.path().join("count");
    let order = script(&format!("echo x >> {}", count.display()));
    room.fill_disk(true).await;
    for _ in 0..2 {
        room.handle.deliver(order.clone()).await;
    }
    room.heard().await;
    room.fill_disk(false).await;
    assert_eq!(end(&room.ended(order.id).await).0, CommandState::Succeeded);
    let _folder = room.end().await;
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}

#[tokio::test]
async fn an_order_that_was_cancelled_while_the_disk_was_full_never_runs() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let order = script("echo no");
    room.fill_disk(true).await;
    room.handle.deliver(order.clone()).await;
    room.handle.cancel(order.id, false).await;
    room.heard().await;
    room.fill_disk(false).await;
    let reports = room.ended(order.id).await;
    assert_eq!((end(&reports).0, reports.len()), (CommandState::Cancelled, 1));
    room.end().await;
}

#[tokio::test]
async fn an_order_whose_id_would_be_forgotten_is_answered() {
    let room = room_at(tempfile::tempdir().unwrap(), OPEN, ServerTime::default()).await;
    let (old, late) = (script("echo"), Ticket { deliver_by: UnixMillis(4_000), ..script("echo no") });
    let old = Ticket { deliver_by: UnixMillis(5_000), ..old };
    let forgotten = move |ledger: &mut Ledger| {
        ledger.take(&old).unwrap();
        ledger.ended(old.id, Report::new(0, CommandState::Denied, UnixMillis(0))).unwrap();
        ledger.acked(old.id, 1).unwrap();
        ledger.tidy(Some(UnixMillis(6_000))).unwrap();
    };
    room.ledger.with(forgotten).await;
    room.handle.deliver(late.clone()).await;
    let reports = room.ended(late.id).await;
    assert_eq!(end(&reports), (CommandState::Expired, Some(Reason::DeliverByPassed)));
    assert_eq!(reports.len(), 1, "nothing was started");
    room.end().await;
}

#[tokio::test]
async fn an_order_with_times_waits_until_the_control_planes_clock_is_known() {
    let room = room_at(tempfile::tempdir().unwrap(), OPEN, ServerTime::default()).await;
    let timed = Ticket { finish_by: Some(UnixMillis(5_000)), ..script("echo no") };
    let free = script("echo yes");
    room.handle.deliver(timed.clone()).await;
    room.handle.deliver(free.clone()).await;
    assert_eq!(end(&room.ended(free.id).await).0, CommandState::Succeeded);
    assert_eq!(room.handle.reports(timed.id, 0, 0).await, [], "nobody here can judge it");
    let now = Clock::System.monotonic();
    room.server_time.learn(UnixMillis(6_000), now, now);
    assert_eq!(end(&room.ended(timed.id).await), (CommandState::TimedOut, Some(Reason::FinishByPassed)));
    room.end().await;
}

#[tokio::test]
async fn scripts_that_an_earlier_process_left_are_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let scripts = folder.path().join("scripts");
    std::fs::create_dir(&scripts).unwrap();
    std::fs::write(scripts.join("left"), "secret").unwrap();
    let room = room(folder, OPEN).await;
    assert!(!scripts.join("left").exists());
    room.end().await;
}

#[tokio::test]
async fn a_script_whose_process_cannot_be_written_down_does_nothing() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let trace = room.folder.path().join("trace");
    let args = types::RunScript { script: format!("echo x > {}", trace.display()), ..Default::default() };
    let Ok(kinds::Kind::RunScript(script)) = kinds::parse("run-script", &args.encode_to_vec()) else {
        panic!("it is a script");
    };
    let order = ticket("run-script", Vec::new());
    let taken = order.clone();
    room.ledger.with(move |ledger| ledger.take(&taken).map(|_| ())).await.unwrap();
    room.fill_disk(true).await;
    let voice = voice::Voice::new(order.id, room.ledger.clone(), Arc::default(), Clock::System, 1);
    let options = options(room.folder.path(), room.server_time.clone());
    let run = kinds::run(kinds::Kind::RunScript(script), &order, &options, &voice, std::future::pending());
    let report = tokio::time::timeout(Duration::from_secs(20), run).await.unwrap();
    assert_eq!((report.state, report.reason), (CommandState::Failed, Some(Reason::StartFailed)));
    assert!(!trace.exists());
    room.end().await;
}

#[tokio::test]
async fn what_an_earlier_process_left_waiting_starts_only_if_it_is_still_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let later = Clock::System.now() + Duration::from_millis(300);
    let [wanted, withdrawn] = [1, 2].map(|_| Ticket { not_before: Some(later), ..script("echo ran") });
    let room = room(folder, OPEN).await;
    for ticket in [&wanted, &withdrawn] {
        room.handle.deliver(ticket.clone()).await;
    }
    room.heard().await;
    let folder = room.end().await;
    let room = self::room(folder, OPEN).await;
    let due = async {
        while Clock::System.now() < later + Duration::from_millis(1200) {
            tokio::time::sleep(Duration::from_millis(20)).await; // longer than between two looks
        }
    };
    due.await;
    let states = |open: Vec<Open>| open.iter().map(|it| it.state).collect::<Vec<_>>();
    assert_eq!(states(room.handle.open().await), [CommandState::Delivered; 2], "nobody was heard");
    room.handle.heard(vec![withdrawn.id]).await;
    assert_eq!(room.ended(withdrawn.id).await.last().unwrap().state, CommandState::Cancelled);
    assert_eq!(room.ended(wanted.id).await.last().unwrap().state, CommandState::Succeeded);
    room.end().await;
}
