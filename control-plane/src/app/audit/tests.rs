use muster_common::{clock::UnixMillis, digest::Sha256};

use muster_domain::audit::{Note, Stamp};

use super::*;

fn entry(place: u64, length: usize) -> Placed<Entry> {
    let stamp = Stamp {
        actor: "operator/alice".into(),
        action: "nodes.update".into(),
        at: UnixMillis(1),
        remote_address: String::new(),
        trace_id: String::new(),
    };
    let note = Note { after: "x".repeat(length), ..Note::default() };
    let (previous, hash) = (Sha256::ZERO, Sha256::ZERO);
    (place, Entry { replica: "a".into(), seq: place, stamp, note, previous, hash })
}

#[test]
fn a_page_of_long_entries_ends_early_and_goes_on_with_the_next() {
    let rows: Vec<_> = (1..=4).rev().map(|place| entry(place, 1000)).collect();
    let page = |rows: &[Placed<Entry>], next: Option<&str>| Listed {
        rows: rows.to_vec(),
        next: next.map(str::to_owned),
    };
    assert_eq!(cut(page(&rows, Some("1")), 10_000), page(&rows, Some("1")));
    assert_eq!(cut(page(&rows, None), 2500), page(&rows[..2], Some("3")));
    assert_eq!(cut(page(&rows, None), 1), page(&rows[..1], Some("4")), "it always goes on");
    assert_eq!(cut(page(&[], None), 1), page(&[], None));
}
