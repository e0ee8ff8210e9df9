use super::*;
use crate::audit::{Note, START, Stamp, seal};

/// A signature in these tests is the digest of what is signed.
fn check(checkpoint: &Checkpoint) -> Result<(), BadSignature> {
    if checkpoint.key_id != Sha256::of(b"key") {
        return Err(BadSignature::UnknownKey);
    }
    let right = Sha256::of(&checkpoint.signed_bytes());
    if checkpoint.signature == right.as_bytes() { Ok(()) } else { Err(BadSignature::Wrong) }
}

fn sign(entry: &Entry) -> Checkpoint {
    let mut checkpoint = Checkpoint::of(entry, "fleet.test", UnixMillis(7), Sha256::of(b"key"));
    checkpoint.signature = Sha256::of(&checkpoint.signed_bytes()).as_bytes().to_vec();
    checkpoint
}

fn entry(replica: &str, seq: u64, previous: Sha256) -> Entry {
    let stamp = Stamp {
        actor: "operator/alice".into(),
        action: "nodes.update".into(),
        at: UnixMillis(1),
        remote_address: String::new(),
        trace_id: String::new(),
    };
    let note = Note { subject: format!("node/{seq}"), ..Note::default() };
    let hash = seal(replica, seq, &stamp, &note, previous);
    Entry { replica: replica.into(), seq, stamp, note, previous, hash }
}

/// a1 b1 a2 b2 … with a checkpoint after every third entry of each.
fn records(length: u64) -> Vec<Placed<Record>> {
    let mut records = Vec::new();
    let mut ends = [START; 2];
    for seq in 1..=length {
        for (n, replica) in ["a", "b"].into_iter().enumerate() {
            let entry = entry(replica, seq, ends[n]);
            ends[n] = entry.hash;
            let place = seq * 2 - 1 + n as u64;
            let signed = (seq % 3 == 0).then(|| sign(&entry));
            records.push((place, Record::Entry(entry)));
            records.extend(signed.map(|signed| (place, Record::Checkpoint(signed))));
        }
    }
    records
}

fn walk(scope: Scope, records: &[Placed<Record>], kept: Vec<Checkpoint>) -> Vec<Verdict> {
    let mut walk = Walk::new(scope, &check, kept);
    for record in records {
        walk.see(record);
    }
    walk.finish()
}

/// The first bad record of `a`; `b` must hold.
fn bad(scope: Scope, records: &[Placed<Record>]) -> Option<(Kind, u64, Damage)> {
    let verdicts = walk(scope, records, Vec::new());
    assert!(verdicts.iter().filter(|v| v.replica == "b").all(|v| v.bad.is_none()), "{verdicts:?}");
    let bad = verdicts.into_iter().find(|v| v.replica == "a").and_then(|v| v.bad);
    bad.map(|bad| (bad.kind, bad.seq, bad.damage))
}

fn at(records: &[Placed<Record>], kind: Kind, seq: u64) -> usize {
    let is = |(_, record): &Placed<Record>| {
        let same = matches!(
            (record, kind),
            (Record::Entry(_), Kind::Entry) | (Record::Checkpoint(_), Kind::Checkpoint)
        );
        same && record.replica() == "a" && record.seq() == seq
    };
    records.iter().position(is).unwrap()
}

fn entry_mut(records: &mut [Placed<Record>], seq: u64) -> &mut Entry {
    match &mut records[at(records, Kind::Entry, seq)].1 {
        Record::Entry(entry) => entry,
        Record::Checkpoint(_) => unreachable!(),
    }
}

fn checkpoint_mut(records: &mut [Placed<Record>], seq: u64) -> &mut Checkpoint {
    match &mut records[at(records, Kind::Checkpoint, seq)].1 {
        Record::Checkpoint(checkpoint) => checkpoint,
        Record::Entry(_) => unreachable!(),
    }
}

#[test]
fn what_was_not_touched_holds_whole_and_from_any_place_on() {
    let records = records(7);
    let verdicts = walk(Scope::Whole, &records, Vec::new());
    let told: Vec<_> =
        verdicts.iter().map(|v| (v.replica.as_str(), v.first, v.last, v.entries, v.checkpoints)).collect();
    assert_eq!(told, [("a", 1, 7, 7, 2), ("b", 1, 7, 7, 2)]);
    assert_eq!(verdicts[0].signed, Some((6, UnixMillis(7))));
    for from in 0..records.len() {
        let Record::Entry(_) = records[from].1 else { continue };
        assert!(walk(Scope::Piece, &records[from..], Vec::new()).iter().all(|v| v.bad.is_none()), "{from}");
    }
}

#[test]
fn an_edited_entry_is_named() {
    let mut records = records(7);
    entry_mut(&mut records, 4).note.after = "{}".into();
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Entry, 4, Break::Content.into())));
}

#[test]
fn a_removed_entry_is_a_gap_at_the_next() {
    let mut records = records(7);
    records.remove(at(&records, Kind::Entry, 4));
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Entry, 5, Break::Gap.into())));
}

#[test]
fn a_removed_start_is_missed_when_all_should_be_there() {
    let mut records = records(7);
    records.remove(at(&records, Kind::Entry, 1));
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Entry, 2, Damage::Start)));
    assert_eq!(bad(Scope::Piece, &records), None, "a piece may begin anywhere");
}

#[test]
fn exchanged_entries_are_a_gap() {
    let mut records = records(7);
    let (left, right) = (at(&records, Kind::Entry, 4), at(&records, Kind::Entry, 5));
    records.swap(left, right);
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Entry, 5, Break::Gap.into())));
}

#[test]
fn a_place_that_does_not_rise_is_named() {
    let mut records = records(2);
    let moved = at(&records, Kind::Entry, 2);
    records[moved].0 = 2;
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Entry, 2, Damage::Order)));
}

#[test]
fn a_chain_computed_anew_does_not_fit_what_was_signed() {
    let mut records = records(7);
    let mut previous = START;
    for seq in 1..=7 {
        let entry = entry_mut(&mut records, seq);
        entry.note.subject.push_str(if seq >= 2 { "-forged" } else { "" });
        entry.previous = previous;
        entry.hash = seal("a", seq, &entry.stamp, &entry.note, previous);
        previous = entry.hash;
    }
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Checkpoint, 3, Damage::Signed)));
}

#[test]
fn a_forged_checkpoint_does_not_help() {
    let mut records = records(7);
    checkpoint_mut(&mut records, 3).at.0 += 1;
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Checkpoint, 3, BadSignature::Wrong.into())));
    checkpoint_mut(&mut records, 3).key_id = Sha256::of(b"another");
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Checkpoint, 3, BadSignature::UnknownKey.into())));
}

#[test]
fn a_checkpoint_whose_entry_was_cut_off_tells_so() {
    let mut records = records(6);
    for seq in [5, 6] {
        records.remove(at(&records, Kind::Entry, seq));
    }
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Checkpoint, 6, Damage::Missing { ends: 4 })));
}

#[test]
fn a_checkpoint_that_was_moved_back_is_out_of_order() {
    let mut records = records(7);
    let from = at(&records, Kind::Checkpoint, 3);
    let moved = records.remove(from);
    let to = at(&records, Kind::Entry, 4);
    records.insert(to + 1, (records[to].0, moved.1));
    assert_eq!(bad(Scope::Whole, &records), Some((Kind::Checkpoint, 3, Damage::Order)));
}

#[test]
fn a_cut_end_is_found_by_a_checkpoint_kept_elsewhere_and_by_nothing_else() {
    let all = records(6);
    let kept = checkpoint_mut(&mut all.clone(), 6).clone();
    let cut: Vec<_> = all.iter().filter(|(_, r)| r.replica() == "b" || r.seq() < 5).cloned().collect();
    assert_eq!(bad(Scope::Whole, &cut), None);
    let verdicts = walk(Scope::Whole, &cut, vec![kept.clone()]);
    let bad = verdicts[0].bad.as_ref().unwrap();
    assert_eq!((bad.kind, bad.seq, bad.damage), (Kind::Kept, 6, Damage::Missing { ends: 4 }));
    let gone: Vec<_> = all.iter().filter(|(_, r)| r.replica() == "b").cloned().collect();
    let verdicts = walk(Scope::Whole, &gone, vec![kept.clone()]);
    assert_eq!(verdicts[0].bad.as_ref().unwrap().damage, Damage::Missing { ends: 0 });
    assert_eq!(verdicts[0].replica, "a");
    assert!(walk(Scope::Whole, &all, vec![kept]).iter().all(|v| v.bad.is_none()));
}

#[test]
fn a_checkpoint_kept_elsewhere_must_be_covered() {
    let all = records(7);
    let kept = checkpoint_mut(&mut all.clone(), 3).clone();
    let late = &all[at(&all, Kind::Entry, 5)..];
    let verdicts = walk(Scope::Piece, late, vec![kept]);
    assert_eq!(verdicts[0].bad.as_ref().unwrap().damage, Damage::NotCovered { begins: 5 });
}

#[test]
fn a_rewritten_entry_does_not_fit_a_checkpoint_kept_elsewhere() {
    let mut records = records(2);
    let kept = sign(entry_mut(&mut records, 2));
    let forged = entry_mut(&mut records, 2);
    forged.note.after = "{}".into();
    forged.hash = seal("a", 2, &forged.stamp, &forged.note, forged.previous);
    let verdicts = walk(Scope::Whole, &records, vec![kept]);
    let bad = verdicts[0].bad.as_ref().unwrap();
    assert_eq!((bad.kind, bad.seq, bad.damage), (Kind::Entry, 2, Damage::Signed));
}

#[test]
fn a_walk_goes_on_from_a_checkpoint_and_holds_the_next_entry_to_it() {
    let mut records = records(5);
    let checkpoint = checkpoint_mut(&mut records, 3).clone();
    let rest = |records: &[Placed<Record>]| {
        let mut walk = Walk::after(&checkpoint, &check);
        let after = at(records, Kind::Entry, 4);
        records[after..].iter().filter(|(_, r)| r.replica() == "a").find_map(|r| walk.see(r).cloned())
    };
    assert_eq!(rest(&records), None);
    let entry = entry_mut(&mut records, 4);
    entry.previous = Sha256::of(b"another");
    entry.hash = seal("a", 4, &entry.stamp, &entry.note, entry.previous);
    assert_eq!(rest(&records).unwrap().damage, Break::Previous.into());
}
