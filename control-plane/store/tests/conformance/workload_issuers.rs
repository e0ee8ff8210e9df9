use muster_common::ids::SecretId;
use muster_domain::{
    secret::Secret,
    workload::{Issuer, Issuers, Standing},
};
use muster_store::{
    ChangeKind, Error, ReadChanges as _, ReadSecrets as _, ReadWorkloadIssuers as _, WriteSecrets as _,
    WriteTx, WriteWorkloadIssuers as _,
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
        secret: None,
    }
}

pub(crate) fn issuers_of_programs_are_replaced_together(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.workload_issuers()), Issuers::default());
    let secret = Secret { id: SecretId::from_u128(7), key_id: "k".to_owned(), sealed: vec![3; 60] };
    let with_keys = Issuer { secret: Some(secret.id), ..issuer(2) };
    let both = Issuers::first(issuer(1)).with_next(with_keys).unwrap();
    let kept = both.clone();
    let sealed = secret.clone();
    let put = move |tx: &mut WriteTx<'_>| {
        tx.secret_put(&sealed)?;
        tx.workload_issuers_put(&kept)?;
        tx.secret_sweep()
    };
    let revision = write(&store, put).revision;
    assert_eq!(read(&store, |tx| tx.secret_of_issuer(2)), Some(secret));
    assert_eq!(read(&store, |tx| tx.secret_of_issuer(1)), None);
    assert_eq!(read(&store, |tx| tx.workload_issuers()), both);
    let changes = read(&store, move |tx| tx.changes_since(revision - 1, 10));
    assert_eq!(changes[0].kind, ChangeKind::Authority);
    let third = Issuers::first(issuer(3));
    let kept = third.clone();
    write(&store, move |tx| {
        tx.workload_issuers_put(&kept)?;
        tx.secret_sweep()
    });
    assert_eq!(
        read(&store, |tx| tx.secret_under_other_keys("")),
        [],
        "nothing is kept of one that is no more"
    );
    assert_eq!(read(&store, |tx| tx.workload_issuers()), third, "and its number is the newest");
    let unaudited = store.write_blocking::<_, Error, _>(stamp(), move |tx| tx.workload_issuers_put(&third));
    assert!(matches!(unaudited, Err(Error::Unaudited(_))));
}
