use super::*;
use crate::state::{Chunk, CommandState};

fn open(folder: &Path) -> Ledger {
    Ledger::open(folder, Clock::test(UnixMillis(1_000))).unwrap()
}

pub(super) fn ticket(n: u128, deliver_by: i64) -> Ticket {
    Ticket {
        id: CommandId::from_u128(n),
        operation: muster_common::ids::OperationId::from_u128(1),
        kind: "run-script".to_owned(),
        args: vec![1, 2, 3],
        not_before: None,
        deliver_by: UnixMillis(deliver_by),
        finish_by: None,
        lane: String::new(),
        trace: String::new(),
        traceparent: String::new(),
        came: None,
        epoch: 1,
    }
}

fn report(state: CommandState) -> Report {
    Report::new(0, state, UnixMillis(5))
}

fn chunk(text: &str) -> Report {
    let output = Some(Chunk { stderr: false, data: text.as_bytes().to_vec(), dropped: 0 });
    Report { output, ..report(CommandState::Running) }
}

#[test]
fn a_known_id_is_known_in_every_later_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let (id, first) = (ledger.mark().0, ticket(1, 9_000));
    assert_eq!(ledger.take(&first).unwrap(), Taken::New);
    assert_eq!(ledger.take(&first).unwrap(), Taken::Known);
    ledger.ended(first.id, report(CommandState::Denied)).unwrap();
    ledger.acked(first.id, 1).unwrap();
    let before = ledger.mark().1;
    drop(ledger);
    let mut again = open(folder.path());
    assert!(again.mark().0 == id && again.mark().1 >= before, "the same ledger, not further back");
    assert_eq!(again.take(&first).unwrap(), Taken::Known);
}

#[test]
fn reports_are_numbered_without_gaps_and_kept_until_the_end_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let command = ticket(1, 9_000);
    ledger.take(&command).unwrap();
    ledger.started(command.id).unwrap();
    ledger.output(command.id, chunk("one")).unwrap();
    drop(ledger);
    let mut ledger = open(folder.path());
    ledger.output(command.id, chunk("two")).unwrap();
    ledger.ended(command.id, report(CommandState::Succeeded)).unwrap();
    let numbers = |ledger: &Ledger, after, bytes| -> Vec<u64> {
        ledger.reports(command.id, after, bytes).unwrap().iter().map(|report| report.seq).collect()
    };
    assert_eq!(numbers(&ledger, 0, 100), [1, 2, 3, 4]);
    assert_eq!(numbers(&ledger, 2, 100), [3, 4]);
    assert_eq!(numbers(&ledger, 0, 3), [1, 2], "no more than the credit, and no end before its output");
    ledger.acked(command.id, 3).unwrap();
    assert_eq!(ledger.entries().count(), 1);
    ledger.acked(command.id, 4).unwrap();
    assert_eq!(ledger.entries().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
}

#[test]
fn what_was_started_and_not_ended_is_told_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    for n in 1..=2 {
        ledger.take(&ticket(n, 9_000)).unwrap();
    }
    ledger.started(CommandId::from_u128(2)).unwrap();
    drop(ledger);
    let states: Vec<CommandState> = open(folder.path()).entries().map(Entry::state).collect();
    assert_eq!(states, [CommandState::Delivered, CommandState::Running]);
}

#[test]
fn an_id_is_forgotten_only_behind_the_watermark_that_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let (early, late) = (ticket(1, 2_000), ticket(2, 9_000));
    for ticket in [&early, &late] {
        ledger.take(ticket).unwrap();
        ledger.ended(ticket.id, report(CommandState::Denied)).unwrap();
        ledger.acked(ticket.id, 1).unwrap();
    }
    ledger.tidy(Some(UnixMillis(2_000))).unwrap();
    assert_eq!(ledger.take(&early).unwrap(), Taken::Known, "its time is not over");
    ledger.tidy(Some(UnixMillis(3_000))).unwrap();
    assert_eq!(ledger.take(&early).unwrap(), Taken::Forgotten);
    assert_eq!(ledger.take(&late).unwrap(), Taken::Known);
    ledger.rewrite().unwrap();
    drop(ledger);
    let mut again = open(folder.path());
    assert_eq!(again.take(&early).unwrap(), Taken::Forgotten);
    assert_eq!(again.take(&late).unwrap(), Taken::Known);
}

#[test]
fn a_long_journal_is_rewritten_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let big = |n| Ticket { args: vec![7; 20_000], ..ticket(n, 9_000) };
    for n in 1..20 {
        ledger.take(&big(n)).unwrap();
        ledger.ended(CommandId::from_u128(n), report(CommandState::Denied)).unwrap();
        ledger.acked(CommandId::from_u128(n), 1).unwrap();
    }
    ledger.take(&big(20)).unwrap();
    let before = ledger.mark();
    ledger.tidy(Some(UnixMillis(1_000))).unwrap();
    assert!(ledger.journal.bytes() < 50_000);
    drop(ledger);
    let mut again = open(folder.path());
    assert!(again.mark().0 == before.0 && again.mark().1 > before.1);
    assert_eq!(again.entries().count(), 1);
    assert_eq!(again.take(&big(3)).unwrap(), Taken::Known);
}

#[test]
fn a_cut_journal_loses_at_most_its_last_line_and_a_damaged_one_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut ledger = open(folder.path());
    let id = ledger.mark().0;
    for n in 1..=3 {
        ledger.take(&ticket(n, 9_000)).unwrap();
    }
    drop(ledger);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let mut cut = open(folder.path());
    assert_eq!((cut.mark().0, cut.entries().count()), (id, 2));
    cut.take(&ticket(4, 9_000)).unwrap();
    drop(cut);
    assert_eq!(open(folder.path()).entries().count(), 3);

    let mut damaged = whole;
    damaged[20] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let fresh = open(folder.path());
    assert_ne!(fresh.mark().0, id, "the control plane will see that it went back");
    assert_eq!(fresh.entries().count(), 0);
    assert!(
        fs::read_dir(folder.path())
            .unwrap()
            .any(|file| { file.unwrap().file_name().to_string_lossy().starts_with("journal.damaged") })
    );
}

#[test]
fn what_was_started_is_never_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let command = ticket(1, 9_000);
    ledger.take(&command).unwrap();
    ledger.started(command.id).unwrap();
    assert!(matches!(ledger.started(command.id), Err(Error::NotOpen(_))));
    drop(ledger);
    assert!(matches!(open(folder.path()).started(command.id), Err(Error::NotOpen(_))));
}

#[test]
fn an_order_behind_the_watermark_is_answered_and_never_found_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let (old, late) = (ticket(1, 2_000), ticket(2, 1_500));
    ledger.take(&old).unwrap();
    ledger.ended(old.id, report(CommandState::Denied)).unwrap();
    ledger.acked(old.id, 1).unwrap();
    ledger.tidy(Some(UnixMillis(3_000))).unwrap();
    assert_eq!(ledger.take(&late).unwrap(), Taken::Forgotten);
    assert_eq!(ledger.refuse(&late, report(CommandState::Expired)).unwrap(), Taken::New);
    drop(ledger);
    let mut again = open(folder.path());
    assert_eq!(again.entry(late.id).unwrap().state(), CommandState::Expired);
    assert!(matches!(again.started(late.id), Err(Error::NotOpen(_))));
    assert_eq!(again.reports(late.id, 0, 0).unwrap().len(), 1);
    again.acked(late.id, 1).unwrap();
    assert_eq!(again.entries().count(), 0);
}

#[test]
fn reports_say_how_far_the_ledger_is_and_to_which_request_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let command = Ticket { trace: "t-1".to_owned(), ..ticket(1, 9_000) };
    ledger.take(&command).unwrap();
    ledger.started(command.id).unwrap();
    let at = ledger.mark().1;
    let mark = Mark { pid: 1, started: 1, boot_id: String::new() };
    ledger.spawned(command.id, mark).unwrap();
    ledger.output(command.id, chunk("one")).unwrap();
    assert_eq!(ledger.mark().1, at, "what a loss of power could take back is not told");
    for report in ledger.reports(command.id, 0, 100).unwrap() {
        assert_eq!((report.ledger_seq, report.trace.as_str()), (at, "t-1"));
    }
    ledger.ended(command.id, report(CommandState::Succeeded)).unwrap();
    assert!(ledger.reports(command.id, 0, 100).unwrap().iter().all(|report| report.ledger_seq > at));
}

#[test]
fn damaged_output_is_set_aside_and_the_numbers_of_reports_have_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let command = ticket(1, 9_000);
    ledger.take(&command).unwrap();
    ledger.started(command.id).unwrap();
    for text in ["one", "two", "three"] {
        ledger.output(command.id, chunk(text)).unwrap();
    }
    ledger.ended(command.id, report(CommandState::Succeeded)).unwrap();
    drop(ledger);
    let path = folder.path().join("spool").join(command.id.to_string());
    let mut content = fs::read(&path).unwrap();
    let second = content.iter().position(|byte| *byte == b'\n').unwrap() + 20;
    content[second] ^= 1;
    fs::write(&path, content).unwrap();
    let mut again = open(folder.path());
    let reports = again.reports(command.id, 0, 100).unwrap();
    assert!(reports.iter().map(|report| report.seq).eq(1..=5));
    let said = |n: usize| reports[n].output.as_ref().map(|chunk| chunk.data.clone());
    assert_eq!((said(1), said(2), said(3)), (Some(b"one".to_vec()), None, Some(b"three".to_vec())));
    assert!(reports[2].message.contains("lost") && reports[4].state == CommandState::Succeeded);
    assert_eq!(
        fs::read_dir(folder.path().join("spool")).unwrap().count(),
        2,
        "the damaged one lies beside it"
    );
    again.acked(command.id, 5).unwrap();
    assert_eq!(again.entries().count(), 0);
}

#[test]
fn output_is_read_in_bounded_steps_and_goes_on_in_a_later_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let command = ticket(1, 9_000);
    ledger.take(&command).unwrap();
    ledger.started(command.id).unwrap();
    for _ in 0..300 {
        ledger.output(command.id, chunk("x")).unwrap();
    }
    drop(ledger);
    let mut ledger = open(folder.path());
    ledger.output(command.id, chunk("last")).unwrap();
    assert_eq!(ledger.reports(command.id, 1, usize::MAX).unwrap().len(), 256);
    let rest = ledger.reports(command.id, 257, usize::MAX).unwrap();
    assert!(rest.iter().map(|report| report.seq).eq(258..=302));
    assert_eq!(ledger.reports(command.id, 1, 0).unwrap(), []);
}

/// A journal of these lines, their checksums right.
fn journal(folder: &Path, lines: &[&str]) {
    let mut bytes = Vec::new();
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        lines::encode(&value, &mut bytes).unwrap();
    }
    fs::write(folder.join("journal"), bytes).unwrap();
}

fn begun(seq: u64) -> String {
    let id = LedgerId::from_u128(1);
    format!(r#"{{"seq":{seq},"change":"begun","ledger":"{id}","watermark":0,"closed":[]}}"#)
}

fn set_aside(folder: &Path) -> bool {
    let name = |file: io::Result<fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    fs::read_dir(folder).unwrap().map(name).any(|name| name.starts_with("journal.damaged-"))
}

#[test]
fn a_ledger_at_the_end_of_all_numbers_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    journal(folder.path(), &[&begun(u64::MAX)]);
    let mut ledger = open(folder.path());
    assert!(set_aside(folder.path()));
    assert_eq!(ledger.take(&ticket(1, 9_000)).unwrap(), Taken::New);
}

#[test]
fn a_journal_that_does_not_say_whose_it_is_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let closed = format!(r#"{{"seq":5,"change":"closed","id":"{}"}}"#, CommandId::from_u128(1));
    journal(folder.path(), &[&closed]);
    let id = open(folder.path()).mark().0;
    assert!(set_aside(folder.path()));
    assert_eq!(open(folder.path()).mark().0, id, "it is one ledger from now on");
}

#[test]
fn an_end_with_a_number_that_no_command_reaches_is_damage() {
    for seq in [1 << 40, u64::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let ticket = serde_json::to_value(ticket(1, 9_000)).unwrap();
        let end = serde_json::to_value(Report { seq, ..report(CommandState::Succeeded) }).unwrap();
        let refused = serde_json::json!({ "seq": 2, "change": "refused", "ticket": ticket, "report": end });
        journal(folder.path(), &[&begun(1), &refused.to_string()]);
        assert_eq!(open(folder.path()).entries().count(), 0);
        assert!(set_aside(folder.path()));
    }
}

#[test]
fn a_command_that_told_the_last_of_all_numbers_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let id = CommandId::from_u128(1);
    let mut ledger = open(folder.path());
    ledger.take(&ticket(1, 9_000)).unwrap();
    drop(ledger);
    let mut bytes = Vec::new();
    lines::encode(&Report { seq: u64::MAX, ..chunk("x") }, &mut bytes).unwrap();
    fs::write(folder.path().join(format!("spool/{id}")), bytes).unwrap();
    assert_eq!(open(folder.path()).entries().count(), 0);
    assert!(set_aside(folder.path()));
}

#[test]
fn output_that_is_numbered_after_the_end_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let id = CommandId::from_u128(1);
    let mut ledger = open(folder.path());
    ledger.take(&ticket(1, 9_000)).unwrap();
    ledger.started(id).unwrap();
    ledger.ended(id, report(CommandState::Succeeded)).unwrap();
    let before = ledger.entry(id).cloned();
    drop(ledger);
    let mut bytes = Vec::new();
    lines::encode(&Report { seq: 8, ..chunk("x") }, &mut bytes).unwrap();
    fs::write(folder.path().join(format!("spool/{id}")), bytes).unwrap();
    for _ in 0..2 {
        let mut ledger = open(folder.path());
        assert_eq!(ledger.entry(id), before.as_ref());
        assert!(
            ledger.reports(id, 0, usize::MAX).unwrap().iter().any(|told| told.seq == 2),
            "the end is told"
        );
        ledger.acked(id, 1).unwrap();
    }
}

#[test]
fn what_is_written_before_the_control_plane_is_heard_does_not_hide_that_the_ledger_went_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.heard().unwrap();
    ledger.take(&ticket(1, 9_000)).unwrap();
    let kept = std::fs::read(folder.path().join("journal")).unwrap();
    for n in 2..4 {
        ledger.take(&ticket(n, 9_000)).unwrap();
    }
    let told = ledger.mark();
    drop(ledger);
    assert_eq!(open(folder.path()).mark(), told, "nothing was lost");
    // The host is set back; processes come and go that write more than was lost.
    std::fs::write(folder.path().join("journal"), kept).unwrap();
    for n in 10..14 {
        open(folder.path()).take(&ticket(n, 9_000)).unwrap();
    }
    let mut ledger = open(folder.path());
    ledger.tidy(None).unwrap();
    assert!(ledger.mark().1 < told.1, "{:?} was told", told.1);
    ledger.heard().unwrap();
    let now = ledger.mark();
    assert!(now.1 > told.1, "the control plane knows by now, and is told how far it is");
    drop(ledger);
    assert_eq!(open(folder.path()).mark(), now);
}
