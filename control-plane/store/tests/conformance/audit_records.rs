use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::audit::{
    Break, Checkpoint, Entry, Filter, Note, Placed, Record, Stamp, Walk,
    checkpoint::BadSignature,
    walk::{Bad, Damage, Kind, Scope},
};
use muster_store::{Error, ReadAudit as _, Store, WriteAudit as _};

use crate::harness::{Database, NOW, note, pages, read, report, stamp};

const ACTORS: [&str; 3] = ["operator/alice", "operator/bob", "node/1"];
const ACTIONS: [&str; 4] = ["nodes.update", "nodes.delete", "denied.PERMISSION_DENIED", "nodesx"];

fn write(store: &Store, actor: &str, action: &str, at: i64, note: Note) {
    let stamp = Stamp { actor: actor.into(), action: action.into(), at: UnixMillis(NOW.0 + at), ..stamp() };
    store.write_blocking::<_, Error, _>(stamp, move |tx| tx.audit(note.clone())).unwrap();
}

/// 120 entries of two replicas, at 0, 10, 20 …
fn fill(a: &Store, b: &Store) {
    for n in 0..120_usize {
        let note = Note { subject: format!("node/{}", n % 5), denied: n % 4 == 2, ..Note::default() };
        let store = if n % 7 < 4 { a } else { b };
        let at = i64::try_from(n).unwrap() * 10;
        write(store, ACTORS[n % 3], ACTIONS[n % 4], at, note);
    }
}

fn opened(database: &impl Database) -> (Store, Store) {
    (database.open_with(|o| o.with_replica("a")), database.open_with(|o| o.with_replica("b")))
}

/// Every combination of a few values of each condition.
fn filters() -> Vec<Filter> {
    let at = |at: i64| Some(UnixMillis(NOW.0 + at));
    let mut filters = vec![Filter::default()];
    let mut cross = |change: &[fn(&mut Filter)]| {
        filters = filters
            .iter()
            .flat_map(|filter| {
                change.iter().map(|change| {
                    let mut changed = filter.clone();
                    change(&mut changed);
                    changed
                })
            })
            .collect();
    };
    cross(&[|_| {}, |f| f.subject = "node/3".into(), |f| f.subject = "nobody".into()]);
    cross(&[|_| {}, |f| f.actor = "operator/bob".into()]);
    cross(&[
        |_| {},
        |f| f.action_prefix = "nodes.".into(),
        |f| f.action_prefix = "nodes".into(),
        |f| {
            f.action_prefix = "z".into();
        },
    ]);
    cross(&[|_| {}, |f| f.denied_only = true]);
    cross(&[|_| {}, |f| f.replica = "b".into()]);
    let times = [(None, None), (at(250), None), (None, at(600)), (at(300), at(310)), (at(900), at(300))];
    let with = |filter: &Filter, (since, until)| Filter { since, until, ..filter.clone() };
    filters.iter().flat_map(|filter| times.iter().map(|times| with(filter, *times))).collect()
}

fn all(store: &Store) -> Vec<Placed<Entry>> {
    read(store, |tx| tx.audit_after(0, &Filter::default(), 100_000))
}

pub(crate) fn every_combination_of_filters_lists_what_it_should(database: &impl Database) {
    let (a, b) = opened(database);
    fill(&a, &b);
    let all = all(&a);
    assert_eq!(all.len(), 120);
    for filter in filters() {
        let mut expected: Vec<_> = all.iter().filter(|(_, entry)| filter.matches(entry)).cloned().collect();
        expected.reverse();
        for size in [7, 1000] {
            let listed = pages(size, |page| {
                let filter = filter.clone();
                read(&a, move |tx| tx.audit_list(&page, &filter))
            });
            assert_eq!(listed, expected, "{filter:?} by {size}");
        }
    }
}

pub(crate) fn filters_follow_as_they_list(database: &impl Database) {
    let (a, b) = opened(database);
    fill(&a, &b);
    let all = all(&a);
    for filter in filters() {
        let expected: Vec<_> = all.iter().filter(|(_, entry)| filter.matches(entry)).cloned().collect();
        let mut followed: Vec<Placed<Entry>> = Vec::new();
        loop {
            let (after, filter) = (followed.last().map_or(0, |(place, _)| *place), filter.clone());
            let more = read(&a, move |tx| tx.audit_after(after, &filter, 11));
            if more.is_empty() {
                break;
            }
            followed.extend(more);
        }
        assert_eq!(followed, expected, "{filter:?}");
    }
}

pub(crate) fn times_of_a_clock_that_went_back_are_found(database: &impl Database) {
    let store = database.open();
    for at in [100, 200, 50, 300, 60] {
        write(&store, "a", "b", at, note(at.to_string()));
    }
    let between = |since: i64, until: i64| {
        let at = |at: i64| Some(UnixMillis(NOW.0 + at));
        let filter = Filter { since: at(since), until: at(until), ..Filter::default() };
        let listed = pages(1, |page| {
            let filter = filter.clone();
            read(&store, move |tx| tx.audit_list(&page, &filter))
        });
        listed.into_iter().map(|(_, entry)| entry.note.subject).collect::<Vec<_>>()
    };
    assert_eq!(between(50, 101), ["60", "50", "100"]);
    assert_eq!(between(50, 100), ["60", "50"], "until is not included");
    assert_eq!(between(400, 500), Vec::<String>::new());
}

pub(crate) fn nonsense_in_a_field_is_harmless(database: &impl Database) {
    let store = database.open();
    let hostile = "'; DROP TABLE audit; --\u{1b}[2J\n\u{202e}".to_owned();
    let huge = "x".repeat(1024 * 1024);
    for text in [&hostile, &huge] {
        write(&store, text, text, 0, Note { after: format!("{text:?}"), ..note(text.clone()) });
    }
    let listed = all(&store);
    assert_eq!(listed[0].1.stamp.actor, r"'; DROP TABLE audit; --\u001b[2J\u000a\u202e");
    assert!(listed[1].1.note.after.len() < 64 * 1024 + 1 && listed[1].1.note.subject.len() < 1024);
    for text in [hostile, huge] {
        for filter in [
            Filter { actor: text.clone(), ..Filter::default() },
            Filter { action_prefix: text.clone(), ..Filter::default() },
            Filter { subject: text.clone(), ..Filter::default() },
        ] {
            assert_eq!(read(&store, move |tx| tx.audit_after(0, &filter, 10)), []);
        }
    }
    assert_eq!(read(&store, |tx| tx.audit_verify("main")), None);
}

/// A signature in these tests is the digest of what is signed.
fn sign(entry: &Entry) -> Checkpoint {
    let mut checkpoint = Checkpoint::of(entry, "example.test", UnixMillis(NOW.0 + 7), Sha256::of(b"key"));
    checkpoint.signature = Sha256::of(&checkpoint.signed_bytes()).as_bytes().to_vec();
    checkpoint
}

fn check(checkpoint: &Checkpoint) -> Result<(), BadSignature> {
    let right = Sha256::of(&checkpoint.signed_bytes());
    if checkpoint.signature == right.as_bytes() { Ok(()) } else { Err(BadSignature::Wrong) }
}

/// Signs the newest entry of a chain.
fn sign_newest(store: &Store, replica: &'static str) -> Checkpoint {
    let checkpoint = sign(&read(store, move |tx| tx.audit_last(replica)).unwrap());
    let signed = checkpoint.clone();
    assert!(report(store, move |tx| tx.checkpoint_insert(&signed)).value);
    checkpoint
}

fn append(store: &Store, count: usize) {
    report(store, move |tx| (0..count).try_for_each(|n| tx.audit(note(format!("node/{n}")))));
}

pub(crate) fn checkpoints_come_back_once(database: &impl Database) {
    let (a, b) = opened(database);
    assert_eq!(read(&a, |tx| tx.checkpoint_last("a")), None);
    let mut signed = Vec::new();
    for (store, replica) in [(&a, "a"), (&b, "b"), (&a, "a")] {
        append(store, 3);
        signed.insert(0, sign_newest(store, replica));
    }
    let list = |replica: Option<&'static str>| {
        let listed = pages(1, |page| read(&a, move |tx| tx.checkpoint_list(&page, replica)));
        listed.into_iter().map(|(_, checkpoint)| checkpoint).collect::<Vec<_>>()
    };
    assert_eq!(list(None), signed, "the newest first");
    assert_eq!(list(Some("b")), signed[1..2]);
    assert_eq!(list(Some("c")), []);
    assert_eq!(read(&a, |tx| tx.checkpoint_last("a")), Some(signed[0].clone()));
    let again = signed[0].clone();
    assert!(!report(&b, move |tx| tx.checkpoint_insert(&again)).value, "an entry is signed once");
    assert_eq!(list(None), signed);
}

pub(crate) fn only_what_is_there_is_signed(database: &impl Database) {
    let store = database.open();
    append(&store, 2);
    let last = read(&store, |tx| tx.audit_last("main")).unwrap();
    for changed in [
        Entry { seq: 3, ..last.clone() },
        Entry { replica: "other".into(), ..last.clone() },
        Entry { hash: Sha256::of(b"another"), ..last },
    ] {
        let checkpoint = sign(&changed);
        assert!(!report(&store, move |tx| tx.checkpoint_insert(&checkpoint)).value, "{changed:?}");
    }
    assert_eq!(read(&store, |tx| tx.checkpoint_last("main")), None);
}

fn walked(store: &Store, kept: Vec<Checkpoint>) -> Vec<Bad> {
    read(store, move |tx| {
        let mut walk = Walk::new(Scope::Whole, &check, kept);
        tx.audit_walk(&mut walk)?;
        Ok(walk.finish().into_iter().filter_map(|verdict| verdict.bad).collect())
    })
}

pub(crate) fn records_come_in_order_piece_by_piece(database: &impl Database) {
    let (a, b) = opened(database);
    for _ in 0..5 {
        append(&a, 2);
        sign_newest(&a, "a");
        append(&b, 1);
        sign_newest(&b, "b");
    }
    let in_pieces = |limit: u32, from: u64, to: u64| {
        let (mut records, mut after) = (Vec::new(), from);
        while after < to {
            let piece = read(&a, move |tx| tx.audit_records(after, to, limit));
            assert!(piece.reached > after, "it goes on");
            assert!(piece.records.len() <= 2 * limit as usize);
            records.extend(piece.records);
            after = piece.reached;
        }
        records
    };
    let whole = in_pieces(1000, 0, 15);
    assert_eq!(whole.len(), 15 + 10);
    for limit in [1, 2, 3, 7] {
        assert_eq!(in_pieces(limit, 0, 15), whole, "by {limit}");
    }
    let some: Vec<Placed<Record>> =
        whole.iter().filter(|(place, _)| (4..=9).contains(place)).cloned().collect();
    assert_eq!(in_pieces(2, 3, 9), some);
    assert_eq!(read(&a, |tx| tx.audit_place()), 15);
    assert_eq!(walked(&a, Vec::new()), []);
    database.tamper("DELETE FROM audit WHERE place > 2 AND place < 15");
    let left: Vec<Placed<Record>> = whole
        .iter()
        .filter(|(place, record)| matches!(record, Record::Checkpoint(_)) || *place <= 2 || *place == 15)
        .cloned()
        .collect();
    for limit in [1, 2, 3, 7] {
        assert_eq!(in_pieces(limit, 0, 15), left, "checkpoints stay without their entries, by {limit}");
    }
}

/// Past the store, as whoever owns the database could.
pub(crate) fn every_kind_of_tampering_is_named(database: &impl Database) {
    let store = database.open();
    append(&store, 1200); // more than are read at once
    sign_newest(&store, "main");
    append(&store, 5);
    sign_newest(&store, "main");
    let kept = sign(&read(&store, |tx| tx.audit_last("main")).unwrap());
    let found = |sql: &str, undo: &str| {
        database.tamper(sql);
        let found = walked(&store, vec![kept.clone()]);
        database.tamper(undo);
        assert_eq!(walked(&store, vec![kept.clone()]), [], "undone: {undo}");
        assert_eq!(found.len(), 1, "{sql}");
        (found[0].kind, found[0].seq, found[0].damage)
    };
    let entry = |seq, damage: Break| (Kind::Entry, seq, Damage::from(damage));
    let swap = "UPDATE audit SET place = -1 WHERE place = 700; UPDATE audit SET place = 700 WHERE place = 701; \
                UPDATE audit SET place = 701 WHERE place = -1";
    let keep = "CREATE TABLE aside AS SELECT * FROM audit WHERE seq = 900; DELETE FROM audit WHERE seq = 900";
    let back = "INSERT INTO audit SELECT * FROM aside; DROP TABLE aside";
    for (sql, undo, expected) in [
        (
            "UPDATE audit SET actor = 'operator/eve' WHERE seq = 600",
            "UPDATE audit SET actor = 'operator/alice' WHERE seq = 600",
            entry(600, Break::Content),
        ),
        (
            "UPDATE audit SET denied = 1 WHERE seq = 1",
            "UPDATE audit SET denied = 0 WHERE seq = 1",
            entry(1, Break::Content),
        ),
        (keep, back, entry(901, Break::Gap)),
        (swap, swap, entry(701, Break::Gap)),
        (
            "UPDATE audit_checkpoints SET seq = 1199 WHERE seq = 1200",
            "UPDATE audit_checkpoints SET seq = 1200 WHERE seq = 1199",
            (Kind::Checkpoint, 1199, BadSignature::Wrong.into()),
        ),
        (
            "UPDATE audit_checkpoints SET at = at + 1",
            "UPDATE audit_checkpoints SET at = at - 1",
            (Kind::Checkpoint, 1200, BadSignature::Wrong.into()),
        ),
        (
            "UPDATE audit_checkpoints SET place = 1199 WHERE place = 1200",
            "UPDATE audit_checkpoints SET place = 1200 WHERE place = 1199",
            (Kind::Checkpoint, 1200, Damage::Missing { ends: 1199 }),
        ),
        (
            "CREATE TABLE aside AS SELECT * FROM audit WHERE seq > 1203; DELETE FROM audit WHERE seq > 1203",
            back,
            (Kind::Checkpoint, 1205, Damage::Missing { ends: 1203 }),
        ),
    ] {
        assert_eq!(found(sql, undo), expected, "{sql}");
    }
    database.tamper("UPDATE audit SET hash = x'00' WHERE seq = 1205");
    let bad = walked(&store, Vec::new());
    assert_eq!((bad[0].seq, bad[0].damage), (1205, Break::Content.into()), "a hash that is none");
}

pub(crate) fn what_was_changed_since_a_checkpoint_is_found(database: &impl Database) {
    let store = database.open();
    append(&store, 3);
    let checkpoint = sign_newest(&store, "main");
    append(&store, 700); // more than are read at once
    let since = |checkpoint: Option<&Checkpoint>| {
        let checkpoint = checkpoint.cloned();
        let bad = read(&store, move |tx| tx.audit_since("main", checkpoint.as_ref()));
        bad.map(|bad| (bad.seq, bad.damage))
    };
    assert_eq!((since(Some(&checkpoint)), since(None)), (None, None));
    let forged = Checkpoint { hash: Sha256::of(b"another"), ..checkpoint.clone() };
    assert_eq!(since(Some(&forged)), Some((4, Break::Previous.into())));
    database.tamper("UPDATE audit SET actor = 'operator/eve' WHERE seq = 2");
    assert_eq!(since(Some(&checkpoint)), None, "what was signed is held against the signature by others");
    assert_eq!(since(None), Some((2, Break::Content.into())));
    database.tamper("UPDATE audit SET actor = 'operator/eve' WHERE seq = 650");
    assert_eq!(since(Some(&checkpoint)), Some((650, Break::Content.into())));
}

pub(crate) fn a_cut_end_is_found_from_elsewhere(database: &impl Database) {
    let store = database.open();
    append(&store, 4);
    let kept = sign_newest(&store, "main");
    database.tamper("DELETE FROM audit WHERE seq > 2; DELETE FROM audit_checkpoints");
    assert_eq!(walked(&store, Vec::new()), [], "what is left fits");
    let bad = walked(&store, vec![kept]);
    assert_eq!((bad[0].kind, bad[0].seq, bad[0].damage), (Kind::Kept, 4, Damage::Missing { ends: 2 }));
}
