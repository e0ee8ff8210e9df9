use std::time::Duration;

use muster_common::{digest::Sha256, ids::UploadId};
use muster_domain::{
    blob::{Blob, State, Upload},
    page::Page,
};
use muster_store::{Error, ReadBlobs as _, WriteBlobs as _};

use crate::harness::{Database, NOW, note, pages, read, report, stamp, write};

fn blob(bytes: &'static str, state: State) -> Blob {
    Blob {
        sha256: Sha256::of(bytes.as_bytes()),
        size_bytes: bytes.len() as u64,
        state,
        created_at: NOW,
        created_by: "operator/alice".into(),
        unreferenced_since: Some(NOW),
    }
}

fn upload(number: u32, bytes: &'static str) -> Upload {
    Upload {
        id: UploadId::from_u128(number.into()),
        sha256: Sha256::of(bytes.as_bytes()),
        size_bytes: bytes.len() as u64,
        created_at: NOW,
        created_by: "operator/alice".into(),
        expires_at: NOW + Duration::from_secs(number.into()),
    }
}

fn insert(store: &muster_store::Store, bytes: &'static str, state: State) -> Sha256 {
    write(store, move |tx| tx.blob_insert(&blob(bytes, state)));
    Sha256::of(bytes.as_bytes())
}

pub(crate) fn only_what_is_here_is_listed(database: &impl Database) {
    let store = database.open();
    let mut here: Vec<Sha256> =
        ["a", "b", "c", "d"].into_iter().map(|b| insert(&store, b, State::Here)).collect();
    here.sort();
    let arriving = insert(&store, "arriving", State::Arriving);
    insert(&store, "leaving", State::Leaving);
    for size in 1..6 {
        let listed = pages(size, |page| read(&store, move |tx| tx.blob_list(&page)));
        assert_eq!(listed.iter().map(|blob| blob.sha256).collect::<Vec<_>>(), here);
    }
    assert_eq!(read(&store, |tx| tx.blob_get(&Sha256::of(b"c"))), Some(blob("c", State::Here)));
    assert_eq!(read(&store, move |tx| tx.blob_get(&arriving)), Some(blob("arriving", State::Arriving)));
    assert_eq!(read(&store, |tx| tx.blob_get(&Sha256::of(b"x"))), None);
    let hosts = |tx: &mut muster_store::WriteTx<'_>| tx.blob_adopt(&Sha256::of(b"c"), "node/1");
    write(&store, hosts);
    let listed = || read(&store, |tx| tx.blob_list(&Page { size: 9, after: None })).rows;
    assert!(listed().len() == 3 && listed().iter().all(|blob| blob.created_by == "operator/alice"));
    write(&store, |tx| tx.blob_adopt(&Sha256::of(b"c"), "operator/alice"));
    assert_eq!(listed().len(), 4);
    let nonsense = Page { size: 1, after: Some("x".into()) };
    let refused = store.read_blocking(move |tx| tx.blob_list(&nonsense)).unwrap_err();
    assert!(matches!(refused, Error::PageKey(_)), "{refused}");
    let twice = store.write_blocking(stamp(), |tx| {
        tx.blob_insert(&blob("a", State::Here))?;
        tx.audit(note("a"))
    });
    assert!(matches!(twice, Err(Error::Constraint(_))));
}

pub(crate) fn a_blob_moves_only_from_where_it_is(database: &impl Database) {
    let store = database.open();
    let sha256 = insert(&store, "a", State::Arriving);
    let step = |from, to| report(&store, move |tx| tx.blob_move(&sha256, from, to)).value;
    assert!(!step(State::Here, State::Leaving));
    assert!(step(State::Arriving, State::Here));
    assert!(!step(State::Arriving, State::Here));
    report(&store, move |tx| tx.blob_forget(&sha256));
    assert!(read(&store, move |tx| tx.blob_get(&sha256)).is_some(), "what is here is not forgotten");
    assert!(step(State::Here, State::Leaving));
    assert_eq!(read(&store, |tx| tx.blob_leaving(9)), [sha256]);
    report(&store, move |tx| tx.blob_forget(&sha256));
    assert_eq!(read(&store, move |tx| tx.blob_get(&sha256)), None);
}

pub(crate) fn a_blob_is_free_when_its_last_referrer_is_gone(database: &impl Database) {
    let store = database.open();
    let (a, b) = (insert(&store, "a", State::Here), insert(&store, "b", State::Here));
    let arriving = insert(&store, "c", State::Arriving);
    let refer = |sha256, by: &'static str| report(&store, move |tx| tx.blob_refer(&sha256, by)).value;
    assert!(refer(a, "bundle/x/1") && refer(a, "bundle/x/1") && refer(a, "bundle/y/1"));
    assert!(!refer(arriving, "bundle/x/1") && !refer(Sha256::of(b"none"), "bundle/x/1"));
    assert_eq!(read(&store, move |tx| tx.blob_referrers(&a, 9)), ["bundle/x/1", "bundle/y/1"]);
    assert_eq!(read(&store, |tx| tx.blob_unreferenced(NOW, 9)), [b]);

    let later = NOW + Duration::from_secs(60);
    report(&store, move |tx| tx.blob_release("bundle/x/1", later));
    assert_eq!(read(&store, move |tx| tx.blob_unreferenced(later, 9)), [b]);
    report(&store, move |tx| tx.blob_release("bundle/y/1", later));
    assert_eq!(read(&store, |tx| tx.blob_unreferenced(NOW, 9)), [b], "its time begins with the release");
    assert_eq!(read(&store, move |tx| tx.blob_unreferenced(later, 9)), [b, a]);
    report(&store, move |tx| tx.blob_touch(&b, later));
    assert_eq!(read(&store, |tx| tx.blob_unreferenced(NOW, 9)), []);
}

pub(crate) fn what_is_referred_to_is_not_forgotten(database: &impl Database) {
    let store = database.open();
    let a = insert(&store, "a", State::Here);
    report(&store, move |tx| tx.blob_refer(&a, "bundle/x/1"));
    report(&store, move |tx| tx.blob_touch(&a, NOW + Duration::from_secs(1)));
    assert_eq!(read(&store, move |tx| tx.blob_get(&a)).unwrap().unreferenced_since, None);
    report(&store, move |tx| tx.blob_move(&a, State::Here, State::Leaving));
    let forgotten = store.write_blocking(stamp(), move |tx| tx.blob_forget(&a));
    assert!(matches!(forgotten, Err(Error::Constraint(_))), "{forgotten:?}");
}

pub(crate) fn uploads_are_kept_until_their_end_and_counted_once(database: &impl Database) {
    let store = database.open();
    for upload in [upload(1, "twelve bytes"), upload(2, "five!"), upload(3, "five!")] {
        report(&store, move |tx| tx.blob_upload_put(&upload));
    }
    assert_eq!(read(&store, |tx| tx.blob_upload_count()), 3);
    assert_eq!(read(&store, |tx| tx.blob_total_bytes()), 22);
    let five = insert(&store, "five!", State::Arriving);
    assert_eq!(read(&store, |tx| tx.blob_total_bytes()), 17, "a blob and its uploads are one");
    report(&store, |tx| tx.blob_upload_put(&Upload { size_bytes: 100, ..upload(4, "five!") }));
    assert_eq!(read(&store, |tx| tx.blob_total_bytes()), 117, "but for one that lies about its size");
    report(&store, |tx| tx.blob_upload_delete(UploadId::from_u128(4)));
    let at = NOW + Duration::from_secs(1);
    assert_eq!(read(&store, move |tx| tx.blob_upload_expired(at, 9)), [UploadId::from_u128(1)]);
    report(&store, |tx| tx.blob_upload_put(&Upload { expires_at: NOW, ..upload(2, "other") }));
    let kept = read(&store, |tx| tx.blob_upload_get(UploadId::from_u128(2)));
    assert_eq!(kept, Some(Upload { expires_at: NOW, ..upload(2, "five!") }), "only its end is moved");
    assert_eq!(read(&store, |tx| tx.blob_leaving(9)), []);
    for number in [2, 3] {
        report(&store, move |tx| tx.blob_upload_delete(UploadId::from_u128(number)));
    }
    assert_eq!(read(&store, |tx| tx.blob_leaving(9)), [five], "nobody brings its bytes any more");
    report(&store, move |tx| tx.blob_abandon(&five));
    assert_eq!(read(&store, move |tx| tx.blob_get(&five)).unwrap().state, State::Leaving);
}

pub(crate) fn an_upload_that_goes_on_is_not_given_up(database: &impl Database) {
    let store = database.open();
    let brought = insert(&store, "five!", State::Arriving);
    report(&store, |tx| tx.blob_upload_put(&upload(2, "five!")));
    report(&store, move |tx| tx.blob_abandon(&brought));
    assert_eq!(read(&store, move |tx| tx.blob_get(&brought)).unwrap().state, State::Arriving);
    let id = UploadId::from_u128(2);
    report(&store, move |tx| tx.blob_upload_expire(id, NOW + Duration::from_millis(1999)));
    assert_eq!(read(&store, |tx| tx.blob_upload_count()), 1);
    report(&store, move |tx| tx.blob_upload_expire(id, NOW + Duration::from_secs(2)));
    assert_eq!(read(&store, |tx| tx.blob_upload_count()), 0);
}
