//! T-F6: lines of an exported audit, read, written again and walked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::audit::{
    Checkpoint, Entry, Note, Record, START, Stamp, Walk, line, seal, text::ascii, walk::Scope,
};

fuzz_target!(init: muster_fuzz::seeds("audit_lines", seeds), |input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    assert!(ascii(&text).is_ascii());
    let check = |_: &Checkpoint| Ok(());
    let mut walk = Walk::new(Scope::Piece, &check, Vec::new());
    let mut records = 0;
    for written in text.lines() {
        let Ok(record) = line::read(written) else { continue };
        let again = line::write(&record);
        assert!(again.is_ascii() && !again.contains(char::is_control));
        assert_eq!(line::read(&again).ok().as_ref(), Some(&record), "it is read as it is written");
        drop(walk.see(&record).map(ToString::to_string));
        records += 1;
    }
    let found = walk.finish();
    assert!(found.iter().map(|chain| chain.entries).sum::<u64>() <= records);
    assert!(found.iter().all(|chain| chain.bad.is_some() || chain.first <= chain.last));
});

fn seeds() -> [Vec<u8>; 2] {
    let stamp = |n: u64| Stamp {
        actor: "operator/alice".to_owned(),
        action: "nodes.update".to_owned(),
        at: UnixMillis(1_700_000_000_000 + n.cast_signed()),
        remote_address: "192.0.2.1".to_owned(),
        trace_id: String::new(),
    };
    let note = || Note {
        subject: "node/\u{1b}[2Ja".to_owned(),
        after: "{\"name\":\"ü\"}".to_owned(),
        ..Note::default()
    };
    let mut previous = START;
    let mut lines = Vec::new();
    for seq in 1..4 {
        let (stamp, note, replica) = (stamp(seq), note(), "a".to_owned());
        let hash = seal(&replica, seq, &stamp, &note, previous);
        let entry = Entry { replica, seq, stamp, note, previous, hash };
        previous = hash;
        let checkpoint = Checkpoint::of(&entry, "fleet.example", UnixMillis(5), Sha256::of(b"key"));
        lines.push(line::write(&(seq, Record::Entry(entry))));
        lines.push(line::write(&(seq, Record::Checkpoint(checkpoint))));
    }
    [lines.join("\n").into_bytes(), lines[2..].join("\n").into_bytes()]
}
