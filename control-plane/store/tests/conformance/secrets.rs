use muster_common::ids::SecretId;
use muster_domain::secret::{Secret, SecretUse};
use muster_store::{Error, ReadSecrets as _, Store, WriteBundles as _, WriteSecrets as _};

use crate::{
    harness::{Database, note, read, stamp, write},
    samples::bundle,
};

fn secret(number: u128, key: &str) -> Secret {
    Secret { id: SecretId::from_u128(number), key_id: key.to_owned(), sealed: vec![0, 255, 7] }
}

/// A version whose files have these contents, all new.
fn insert(store: &Store, name: &'static str, version: u64, ids: &'static [u128]) {
    write(store, move |tx| {
        tx.bundle_insert(&bundle(name, version, b"x"), b"x")?;
        for &id in ids {
            tx.secret_put(&secret(id, "old"))?;
            tx.secret_use(name, version, &used(id))?;
        }
        Ok(())
    });
}

fn used(number: u128) -> SecretUse {
    SecretUse { id: SecretId::from_u128(number), path: format!("/etc/{number}") }
}

pub(crate) fn contents_belong_to_versions_and_go_with_the_last(database: &impl Database) {
    let store = database.open();
    insert(&store, "web", 1, &[2, 1]);
    insert(&store, "web", 2, &[3]);
    write(&store, |tx| tx.secret_use("web", 2, &used(1)));
    assert_eq!(read(&store, |tx| tx.secret_of_bundle("web", 1)), [secret(1, "old"), secret(2, "old")]);
    assert_eq!(read(&store, |tx| tx.secret_uses("web", 2)), [used(1), used(3)]);
    assert_eq!(
        read(&store, |tx| tx.secret_in_bundles(SecretId::from_u128(2), "web")),
        Some(secret(2, "old"))
    );
    assert_eq!(read(&store, |tx| tx.secret_in_bundles(SecretId::from_u128(2), "db")), None);
    write(&store, |tx| {
        tx.bundle_delete("web", Some(1))?;
        tx.secret_sweep()
    });
    assert_eq!(read(&store, |tx| tx.secret_in_bundles(SecretId::from_u128(2), "web")), None);
    assert_eq!(read(&store, |tx| tx.secret_keys()), [("old".to_owned(), 2)]);
}

pub(crate) fn contents_are_found_by_key_and_change_it(database: &impl Database) {
    let store = database.open();
    insert(&store, "web", 1, &[1, 2]);
    write(&store, |tx| tx.secret_put(&secret(2, "new")));
    assert_eq!(read(&store, |tx| tx.secret_under_other_keys("new")), [secret(1, "old")]);
    assert_eq!(read(&store, |tx| tx.secret_keys()), [("new".to_owned(), 1), ("old".to_owned(), 1)]);
    let dangling = store.write_blocking(stamp(), |tx| {
        tx.secret_use("web", 1, &used(9))?;
        tx.audit(note("web"))
    });
    assert!(matches!(dangling, Err(Error::Constraint(_))), "a content that is not there");
}
