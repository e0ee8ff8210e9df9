//! T-F6: the ledger's journal and spool. The first part says how the rest is
//! laid down: as it is, or with checksums that hold. The second is the journal,
//! the others are files of the spool.
#![no_main]

use std::{cell::OnceCell, fs, path::Path};

use libfuzzer_sys::fuzz_target;
use muster_common::{
    clock::{Clock, UnixMillis},
    ids::{CommandId, OperationId},
};
use muster_fuzz::{Scratch, joined, parts, sealed, unsealed};
use muster_node_agent::{
    ledger::Ledger,
    state::{Chunk, CommandState, Report, Ticket},
};

thread_local!(static SCRATCH: OnceCell<Scratch> = const { OnceCell::new() });

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fuzz_target!(init: muster_fuzz::seeds("ledger", seeds), |input: &[u8]| {
    let parts = parts(input);
    let [how, files @ ..] = parts.as_slice() else { return };
    let holds = how.first().is_some_and(|byte| byte & 1 == 1);
    SCRATCH.with(|scratch| {
        let scratch = scratch.get_or_init(Scratch::default);
        let folder = scratch.empty();
        let spool = |n: usize| format!("spool/{}", CommandId::from_u128(n as u128));
        for (n, content) in files.iter().enumerate().take(4) {
            let name = if n == 0 { "journal".to_owned() } else { spool(n) };
            let content = if holds { sealed(content) } else { content.to_vec() };
            scratch.file(&name, &content);
        }
        look(folder);
    });
});

fn look(folder: &Path) {
    let mut ledger = Ledger::open(folder, Clock::System).expect("damage is set aside");
    let mark = ledger.mark();
    let before: Vec<_> = ledger.entries().cloned().collect();
    for entry in &before {
        ledger.reports(entry.ticket.id, 0, usize::MAX).expect("what was opened can be read");
    }
    drop(ledger);
    ledger = Ledger::open(folder, Clock::System).expect("what was opened can be opened again");
    assert_eq!(ledger.mark(), mark, "it is the same ledger");
    assert!(ledger.entries().cloned().collect::<Vec<_>>() == before, "with the same commands");
    work(&mut ledger);
}

/// It goes on working.
fn work(ledger: &mut Ledger) {
    let open: Vec<_> = ledger.entries().map(|entry| (entry.ticket.id, entry.last_seq)).collect();
    for (id, last) in open {
        drop(ledger.started(id));
        drop(ledger.ended(id, Report::new(0, CommandState::Interrupted, NOW)));
        ledger.acked(id, last.saturating_add(9)).expect("it can be closed");
    }
    ledger.tidy(Some(NOW)).expect("it can be tidied");
    drop(ledger.take(&ticket(77)));
}

fn ticket(n: u128) -> Ticket {
    Ticket {
        id: CommandId::from_u128(n),
        operation: OperationId::from_u128(1),
        kind: "run-script".to_owned(),
        args: b"args".to_vec(),
        not_before: None,
        deliver_by: NOW,
        finish_by: Some(NOW),
        lane: "db".to_owned(),
        trace: "t".to_owned(),
        traceparent: String::new(),
        came: None,
        epoch: 1,
    }
}

fn output(text: &[u8]) -> Report {
    let chunk = Chunk { stderr: false, data: text.to_vec(), dropped: 0 };
    Report { output: Some(chunk), ..Report::new(0, CommandState::Running, NOW) }
}

/// What a ledger writes: two commands, one that ended and one that runs.
fn seeds() -> [Vec<u8>; 4] {
    let scratch = Scratch::default();
    let folder = scratch.empty();
    let mut ledger = Ledger::open(folder, Clock::System).expect("an empty ledger");
    for n in 1..3 {
        ledger.take(&ticket(n)).expect("taken");
        ledger.started(CommandId::from_u128(n)).expect("started");
        ledger.output(CommandId::from_u128(n), output(b"one\n")).expect("kept");
        ledger.output(CommandId::from_u128(n), output(b"two\n")).expect("kept");
    }
    let end = Report::new(0, CommandState::Succeeded, NOW);
    ledger.ended(CommandId::from_u128(1), end.clone()).expect("ended");
    ledger.refuse(&ticket(3), end).expect("refused");
    let read = |name: &str| fs::read(folder.join(name)).expect("it is there");
    let spool = |n| read(&format!("spool/{}", CommandId::from_u128(n)));
    let files = [read("journal"), spool(1), spool(2)];
    let bare = files.each_ref().map(|file| unsealed(file));
    let cut = &files[0][..files[0].len() - 20];
    [
        joined(&[b"\0", &files[0], &files[1], &files[2]]),
        joined(&[b"\0", cut, &files[1], &files[2]]),
        joined(&[b"\x01", &bare[0], &bare[1], &bare[2]]),
        joined(&[b"\x01", &bare[0], &bare[2], b""]),
    ]
}
