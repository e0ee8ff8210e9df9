//! The ledger: a known command is known for ever, one that began never begins again, and what
//! ended is told.

use std::{fs, path::Path};

use muster_common::{
    clock::{Clock, UnixMillis},
    ids::{CommandId, LedgerId, OperationId},
};
use muster_node_agent::{
    ledger::{Ledger, Taken},
    state::{Chunk, CommandState, Report, Ticket},
};

use super::Story;

/// Longer than a journal that is rewritten.
const LONG: u64 = 300 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Known(u128),
    Began(u128),
    Said(u128),
    Ended(u128),
    /// The control plane has it all: it may be forgotten from now on, and what was said first.
    Stored(u128),
    /// The control plane was told how far the ledger is.
    Told(LedgerId, u64),
}

#[test]
fn what_the_ledger_has_taken_in_outlives_a_loss_of_power_at_any_moment() {
    let _alone = crate::ALONE.blocking_lock();
    let mut story = Story::begin();
    let mut ledger = open(story.place());
    for number in 1..=3 {
        command(&mut story, &mut ledger, number);
    }
    let journal = story.place().join("ledger/journal");
    for number in 10.. {
        if fs::metadata(&journal).unwrap().len() > LONG {
            break;
        }
        let ticket = Ticket { args: vec![7; 40_000], ..ticket(number) };
        ledger.refuse(&ticket, report(CommandState::Denied)).unwrap();
        story.promise(Fact::Known(number));
        story.promise(Fact::Ended(number));
        story.promise(Fact::Stored(number));
        ledger.acked(ticket.id, 1).unwrap();
    }
    ledger.tidy(None).unwrap();
    assert!(fs::metadata(&journal).unwrap().len() < LONG, "it was rewritten");
    command(&mut story, &mut ledger, 4);
    drop(ledger);
    story.cut("ledger", check);
}

/// One that runs to its end; of even numbers the control plane then has it all.
fn command(story: &mut Story<Fact>, ledger: &mut Ledger, number: u128) {
    let ticket = ticket(number);
    assert_eq!(ledger.take(&ticket).unwrap(), Taken::New);
    story.promise(Fact::Known(number));
    ledger.started(ticket.id).unwrap();
    story.promise(Fact::Began(number));
    let output = Some(Chunk { stderr: false, data: b"said".to_vec(), dropped: 0 });
    ledger.output(ticket.id, Report { output, ..report(CommandState::Running) }).unwrap();
    story.promise(Fact::Said(number));
    ledger.ended(ticket.id, report(CommandState::Succeeded)).unwrap();
    story.promise(Fact::Ended(number));
    let (id, seq) = ledger.mark();
    story.promise(Fact::Told(id, seq));
    if number.is_multiple_of(2) {
        story.promise(Fact::Stored(number));
        ledger.acked(ticket.id, u64::MAX).unwrap();
    }
}

fn check(place: &Path, facts: &[Fact]) {
    let mut ledger = open(place);
    for entry in fs::read_dir(place.join("ledger")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().contains("damaged"), "it is not believed any more");
    }
    for fact in facts {
        holds(*fact, facts, &mut ledger);
    }
    // It goes on from there.
    assert_eq!(ledger.take(&ticket(99)).unwrap(), Taken::New);
    drop(ledger);
    assert_eq!(open(place).take(&ticket(99)).unwrap(), Taken::Known);
}

fn holds(fact: Fact, facts: &[Fact], ledger: &mut Ledger) {
    let id = |number| CommandId::from_u128(number);
    let is_stored = |number| facts.contains(&Fact::Stored(number));
    match fact {
        Fact::Known(number) => assert_ne!(ledger.take(&ticket(number)).unwrap(), Taken::New, "{fact:?}"),
        Fact::Began(number) => assert!(ledger.started(id(number)).is_err(), "{fact:?}: it would run again"),
        Fact::Said(number) => {
            let told = ledger.reports(id(number), 0, usize::MAX).unwrap();
            let is_said = |report: &Report| report.output.as_ref().is_some_and(|chunk| chunk.data == b"said");
            assert!(is_stored(number) || told.iter().any(is_said), "{fact:?}: {told:?}");
        }
        Fact::Ended(number) => {
            let entry = ledger.entry(id(number));
            let has_end = entry.is_some_and(|entry| entry.end.is_some());
            assert!(has_end || entry.is_none() && is_stored(number), "{fact:?}");
        }
        Fact::Stored(_) => {}
        Fact::Told(id, seq) => {
            let (now, at) = ledger.mark();
            assert!(now == id && at >= seq, "{fact:?}: it is {now} at {at}");
        }
    }
}

fn open(place: &Path) -> Ledger {
    Ledger::open(&place.join("ledger"), Clock::test(UnixMillis(1_000))).unwrap()
}

fn ticket(number: u128) -> Ticket {
    Ticket {
        id: CommandId::from_u128(number),
        operation: OperationId::from_u128(1),
        kind: "run-script".to_owned(),
        args: vec![1, 2, 3],
        not_before: None,
        deliver_by: UnixMillis(9_000),
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
