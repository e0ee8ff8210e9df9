//! Kinds, over the real room; what other rooms would do is done here.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{FutureExt as _, future::BoxFuture};
use muster_common::digest::Sha256;
use parking_lot::Mutex;

use super::*;
use crate::{
    commands::errands::{File, NotBrought, Rotated},
    platform::{process, systemd},
};

/// An agent that is alone in the world.
#[derive(Debug)]
pub(super) struct Alone;

impl Errands for Alone {
    fn describe(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn bring(&self, _: File) -> BoxFuture<'_, Result<(), NotBrought>> {
        std::future::pending().boxed()
    }

    fn rotate(&self) -> BoxFuture<'_, Rotated> {
        std::future::pending().boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::pending().boxed()
    }
}

/// One that takes archives: the first time it is busy, then it keeps the bytes, or says no.
#[derive(Debug, Default)]
struct Shelf {
    tries: AtomicU32,
    refuses: Option<Reason>,
    says_much: bool,
    files: Mutex<Vec<(File, Vec<u8>)>>,
}

impl Errands for Shelf {
    fn describe(&self) -> Vec<(&'static str, String)> {
        let much = if self.says_much { "a line of many\n".repeat(20_000) } else { String::new() };
        vec![("facts.json", format!("{{\"password\": \"hunter2\"}}\n{much}"))]
    }

    fn bring(&self, file: File) -> BoxFuture<'_, Result<(), NotBrought>> {
        let no = |reason| NotBrought { reason: Some(reason), message: "no".to_owned() };
        let answer = if self.tries.fetch_add(1, Ordering::Relaxed) == 0 {
            Err(no(Reason::Overloaded))
        } else if let Some(reason) = self.refuses {
            Err(no(reason))
        } else {
            let bytes = std::fs::read(&file.path).unwrap();
            self.files.lock().push((file, bytes));
            Ok(())
        };
        std::future::ready(answer).boxed()
    }

    fn rotate(&self) -> BoxFuture<'_, Rotated> {
        let rotated = Rotated { serial: "0a".to_owned(), not_after: UnixMillis(7), generation: 3 };
        std::future::ready(rotated).boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::pending().boxed()
    }
}

pub(super) fn result(reports: &[Report]) -> Option<command_result::Kind> {
    types::CommandResult::decode(reports.last().unwrap().result.as_slice()).unwrap().kind
}

/// Runs one order in a room of its own.
async fn with(errands: Arc<dyn Errands>, rules: &str, order: Ticket) -> (Vec<Report>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("locks.toml"), rules).unwrap();
    let ledger = Shared::new(Ledger::open(&folder.path().join("ledger"), Clock::System).unwrap());
    let server_time = ServerTime::default();
    let now = Clock::System.monotonic();
    server_time.learn(Clock::System.now(), now, now);
    let options = Options { errands, ..options(folder.path(), server_time.clone()) };
    let (refresh_facts, restart) = (Arc::clone(&options.refresh_facts), options.restart.clone());
    let (handle, task) = open(options, ledger.clone()).await.unwrap();
    let (drain, tasks) = (Drain::default(), Tasks::default());
    tasks.spawn("commands", Kind::BestEffort, task.run(drain.clone()));
    let room = Room { folder, handle, drain, tasks, refresh_facts, restart, ledger, server_time };
    room.handle.deliver(order.clone()).await;
    let reports = room.ended(order.id).await;
    (reports, room.end().await)
}

fn logs(args: &types::CollectLogs) -> Ticket {
    ticket("collect-logs", args.encode_to_vec())
}

fn unpacked(bytes: &[u8]) -> Vec<(String, String)> {
    use std::io::Read as _;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    entries.collect()
}

#[tokio::test]
async fn logs_are_collected_without_credentials_and_brought_until_they_are_taken() {
    let shelf = Arc::new(Shelf::default());
    let args = types::CollectLogs { units: vec!["app.service".to_owned()], ..Default::default() };
    let (reports, folder) = with(shelf.clone(), "[commands]\njournals = [\"app.*\"]\n", logs(&args)).await;
    assert_eq!(end(&reports), (CommandState::Succeeded, None));
    let (file, bytes) = shelf.files.lock().pop().unwrap();
    let Some(command_result::Kind::CollectLogs(told)) = result(&reports) else { panic!("{reports:?}") };
    assert_eq!((&told.sha256[..], told.size_bytes), (&Sha256::of(&bytes).as_bytes()[..], bytes.len() as u64));
    assert_eq!((file.sha256, file.size_bytes), (Sha256::of(&bytes), told.size_bytes));
    let files = unpacked(&bytes);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["about/facts.json", "agent.log", "journal/app.service.log"]);
    assert_eq!(files[0].1, "{\"password\": \"[redacted]\"}\n");
    assert!(!file.path.exists() && folder.path().exists(), "the host keeps nothing of it");
}

#[tokio::test]
async fn an_archive_is_no_larger_than_was_asked_for_and_says_what_was_cut() {
    let shelf = Arc::new(Shelf { says_much: true, ..Shelf::default() });
    let args = types::CollectLogs { max_bytes: 64 * 1024, ..Default::default() };
    let (reports, _folder) = with(shelf.clone(), "", logs(&args)).await;
    let Some(command_result::Kind::CollectLogs(told)) = result(&reports) else { panic!("{reports:?}") };
    assert!(told.cut && told.size_bytes < 64 * 1024, "{told:?}");
    let files = unpacked(&shelf.files.lock().pop().unwrap().1);
    assert!(files[0].1.starts_with("[cut: ") && files[0].1.ends_with("a line of many\n"));
    assert!(files.iter().map(|(_, text)| text.len()).sum::<usize>() < 65 * 1024);
}

#[tokio::test]
async fn an_archive_that_is_refused_ends_the_order_with_the_reason() {
    let shelf = Arc::new(Shelf { refuses: Some(Reason::QuotaExceeded), ..Shelf::default() });
    let (reports, _folder) = with(shelf, "", logs(&types::CollectLogs::default())).await;
    assert_eq!(end(&reports), (CommandState::Failed, Some(Reason::QuotaExceeded)));
}

#[tokio::test]
async fn a_rotation_tells_the_certificate_that_is_in_use() {
    let (reports, _folder) =
        with(Arc::new(Shelf::default()), "", ticket("rotate-identity", Vec::new())).await;
    let told =
        types::RotateIdentityResult { serial: "0a".to_owned(), not_after_ms: 7, certificate_generation: 3 };
    assert_eq!(end(&reports), (CommandState::Succeeded, None));
    assert_eq!(result(&reports), Some(command_result::Kind::RotateIdentity(told)));
}

#[tokio::test]
async fn what_the_lock_file_does_not_name_is_denied() {
    let service =
        types::Service { action: types::ServiceAction::Stop.into(), unit: "app.service".to_owned() };
    let units = types::CollectLogs { units: vec!["app.service".to_owned()], ..Default::default() };
    for (rules, order) in [
        ("", ticket("reboot", Vec::new())),
        ("", ticket("service", service.encode_to_vec())),
        ("[commands]\nservices = [\"web.*\"]\n", ticket("service", service.encode_to_vec())),
        (
            "[commands]\nservices = [\"*\"]\ndeny = [\"service\"]\n",
            ticket("service", service.encode_to_vec()),
        ),
        ("", logs(&units)),
        ("[commands]\ndeny = [\"collect-logs\"]\n", logs(&types::CollectLogs::default())),
        ("[commands]\ndeny = [\"rotate-identity\"]\n", ticket("rotate-identity", Vec::new())),
        ("[commands]\ndeny = [\"disconnect\"]\n", ticket("disconnect", Vec::new())),
        ("nonsense", ticket("disconnect", Vec::new())),
    ] {
        let reports = outcome(rules, order.clone()).await;
        assert_eq!(end(&reports), (CommandState::Denied, Some(Reason::LocalLock)), "{rules} {order:?}");
        assert_eq!(reports.len(), 1, "it was not started");
    }
}

#[tokio::test]
async fn bad_arguments_are_refused_by_the_host_too() {
    let rules = "[commands]\nallow = [\"reboot\"]\nservices = [\"*\"]\njournals = [\"*\"]\n";
    let service = |action: i32, unit: &str| {
        ticket("service", types::Service { action, unit: unit.to_owned() }.encode_to_vec())
    };
    let reboot = |delay_s, message: &str| {
        ticket("reboot", types::Reboot { delay_s, message: message.to_owned() }.encode_to_vec())
    };
    for order in [
        service(0, "a.service"),
        service(99, "a.service"),
        service(1, "a*.service"),
        service(1, "reboot.target"),
        reboot(3601, ""),
        reboot(0, "a\u{7}b"),
        logs(&types::CollectLogs { since_s: u32::MAX, ..Default::default() }),
        logs(&types::CollectLogs { units: vec!["--all".to_owned()], ..Default::default() }),
        logs(&types::CollectLogs { units: vec!["a.service".to_owned(); 33], ..Default::default() }),
        logs(&types::CollectLogs { max_bytes: 1, ..Default::default() }),
        logs(&types::CollectLogs { max_bytes: u64::MAX, ..Default::default() }),
        ticket("reboot", vec![0xff]),
    ] {
        let reports = outcome(rules, order.clone()).await;
        let refused = (CommandState::Failed, Some(Reason::CommandArgsInvalid));
        assert_eq!(end(&reports), refused, "{order:?}");
    }
}

#[tokio::test]
async fn without_systemd_nothing_is_done_to_units_or_the_host() {
    if systemd::is_booted() {
        return; // what it does there is shown on hosts of their own
    }
    let rules = "[commands]\nallow = [\"reboot\"]\nservices = [\"*\"]\n";
    let service = types::Service { action: types::ServiceAction::Start.into(), unit: "a.service".to_owned() };
    for order in [ticket("reboot", Vec::new()), ticket("service", service.encode_to_vec())] {
        let reports = outcome(rules, order).await;
        assert_eq!(end(&reports), (CommandState::Failed, Some(Reason::UnavailableOnHost)));
    }
}

#[tokio::test]
async fn no_script_runs_where_the_limits_of_the_lock_file_cannot_hold() {
    let rules = "[commands]\nrun-script = true\n[limits]\ncpu = \"50%\"\n";
    let script = types::RunScript { script: "echo it ran".to_owned(), ..Default::default() };
    let reports = outcome(rules, ticket("run-script", script.encode_to_vec())).await;
    assert_eq!(end(&reports), (CommandState::Failed, Some(Reason::UnavailableOnHost)));
}

/// A room over a ledger in which a reboot was begun, in that boot.
async fn after_reboot(was: Option<&str>, finish_by: Option<UnixMillis>) -> Vec<Report> {
    let folder = tempfile::tempdir().unwrap();
    let order = Ticket { finish_by, ..ticket("reboot", Vec::new()) };
    {
        let mut ledger = Ledger::open(&folder.path().join("ledger"), Clock::System).unwrap();
        ledger.take(&order).unwrap();
        ledger.started(order.id).unwrap();
        if let Some(was) = was {
            ledger.noted(order.id, was.to_owned()).unwrap();
        }
    }
    let room = room(folder, "").await;
    let reports = room.ended(order.id).await;
    room.end().await;
    reports
}

#[tokio::test]
async fn another_boot_is_the_proof_of_a_reboot() {
    let reports = after_reboot(Some("the boot before"), Some(UnixMillis(1))).await;
    assert_eq!(end(&reports), (CommandState::Succeeded, None));
    let told =
        types::RebootResult { old_boot_id: "the boot before".to_owned(), new_boot_id: process::boot_id() };
    assert_eq!(result(&reports), Some(command_result::Kind::Reboot(told)));
}

#[tokio::test]
async fn a_new_agent_in_the_same_boot_waits_for_the_reboot_and_asks_for_no_second_one() {
    let soon = Clock::System.now() + Duration::from_millis(300);
    let reports = after_reboot(Some(&process::boot_id()), Some(soon)).await;
    assert_eq!(end(&reports), (CommandState::TimedOut, Some(Reason::NotRebooted)));
}

#[tokio::test]
async fn a_reboot_that_was_not_asked_for_yet_is_interrupted() {
    let reports = after_reboot(None, None).await;
    assert_eq!(end(&reports), (CommandState::Interrupted, Some(Reason::AgentStopped)));
}
