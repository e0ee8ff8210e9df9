//! A disk that is really full: a small file system of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Barrier},
    thread,
};

use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::bundle::Bundle;
use muster_store::{Error, Options, ReadAudit as _, ReadBundles as _, Store, WriteBundles as _};

use crate::write;

/// A tmpfs, gone with the test.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn make(size: &str) -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        made.mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        made
    }

    fn grow(&self, size: &str) {
        self.mount(&["-o", &format!("remount,size={size}")]);
    }

    fn mount(&self, args: &[&str]) {
        let status = Command::new("mount").args(args).arg(self.path()).status().unwrap();
        assert!(status.success(), "mount failed: this test must run as root, with leave to mount");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join("store.db")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: the store's threads may hold the file for a moment longer.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn insert(store: &Store, name: &str, version: u64, size: usize) -> Result<u64, Error> {
    let (name, payload) = (name.to_owned(), vec![7; size]);
    write(store, move |tx| {
        let bundle = Bundle {
            name: name.clone(),
            version,
            sha256: Sha256::of(&payload),
            size_bytes: payload.len() as u64,
            created_at: UnixMillis(1),
            created_by: "operator/alice".into(),
        };
        tx.bundle_insert(&bundle, &payload)
    })
}

fn versions(store: &Store, name: &'static str) -> Vec<u64> {
    let all = store.read_blocking::<_, Error, _>(|tx| tx.bundle_all()).unwrap();
    all.into_iter().filter(|bundle| bundle.name == name).map(|bundle| bundle.version).rev().collect()
}

#[test]
fn a_full_disk_loses_nothing_and_is_got_over() {
    let disk = SmallDisk::make("4m");
    let store = Store::create(&Options::sqlite(disk.file()), "example.test").unwrap();
    let full =
        (1..).find_map(|version| insert(&store, "motd", version, 65_536).err().map(|error| (version, error)));
    let (version, error) = full.unwrap();
    assert!(matches!(error, Error::DiskFull(_)), "{error:?}");
    let written: Vec<u64> = (1..version).collect();
    assert!(written.len() > 5);
    assert_eq!(versions(&store, "motd"), written, "everything answered is there, and can be read meanwhile");
    assert!(matches!(insert(&store, "motd", version, 65_536), Err(Error::DiskFull(_))));
    disk.grow("64m");
    insert(&store, "motd", version, 65_536).unwrap();
    assert_eq!(versions(&store, "motd"), (1..=version).collect::<Vec<_>>());
    assert_eq!(store.read_blocking::<_, Error, _>(|tx| tx.audit_verify("main")).unwrap(), None);
    store.close_blocking().unwrap();
}

/// One that is too big shares a commit with small ones, which have room.
#[test]
fn a_write_that_does_not_fit_takes_nobody_along() {
    let disk = SmallDisk::make("6m");
    let store = Store::create(&Options::sqlite(disk.file()), "example.test").unwrap();
    let (entered, open) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    thread::scope(|scope| {
        let (store, hold) = (&store, (Arc::clone(&entered), Arc::clone(&open)));
        scope.spawn(move || {
            write(store, move |_| {
                hold.0.wait();
                hold.1.wait();
                Ok(())
            })
        });
        entered.wait();
        let sizes = [100, 8 << 20, 100];
        let writes: Vec<_> = (1..)
            .zip(sizes)
            .map(|(version, size)| scope.spawn(move || insert(store, "motd", version, size)))
            .collect();
        open.wait();
        let answers: Vec<_> = writes.into_iter().map(|write| write.join().unwrap()).collect();
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
        assert!(matches!(answers[1], Err(Error::DiskFull(_))), "{answers:?}");
    });
    assert_eq!(versions(&store, "motd"), [1, 3]);
}
