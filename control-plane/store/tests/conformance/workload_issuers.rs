use muster_domain::workload::{Issuer, Issuers, Standing};
use muster_store::{
    ChangeKind, Error, ReadChanges as _, ReadWorkloadIssuers as _, WriteWorkloadIssuers as _,
};

use crate::harness::{Database, NOW, read, stamp, write};

fn issuer(number: u32) -> Issuer {
    Issuer {
        number,
        standing: Standing::Next,
        certificate_der: vec![1; 400],
        jwt_key_der: vec![2; 91],
        not_after: NOW,
        created_at: NOW,
        changed_at: NOW,
    }
}

pub(crate) fn issuers_of_programs_are_replaced_together(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.workload_issuers()), Issuers::default());
    let both = Issuers::first(issuer(1)).with_next(issuer(2)).unwrap();
    let kept = both.clone();
    let revision = write(&store, move |tx| tx.workload_issuers_put(&kept)).revision;
    assert_eq!(read(&store, |tx| tx.workload_issuers()), both);
    let changes = read(&store, move |tx| tx.changes_since(revision - 1, 10));
    assert_eq!(changes[0].kind, ChangeKind::Authority);
    let third = Issuers::first(issuer(3));
    let kept = third.clone();
    write(&store, move |tx| tx.workload_issuers_put(&kept));
    assert_eq!(read(&store, |tx| tx.workload_issuers()), third, "and its number is the newest");
    let unaudited = store.write_blocking::<_, Error, _>(stamp(), move |tx| tx.workload_issuers_put(&both));
    assert!(matches!(unaudited, Err(Error::Unaudited(_))));
}
