use std::{
    fs::Permissions,
    io::{Cursor, Seek as _},
    num::NonZeroU64,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use muster_common::{
    clock::UnixMillis,
    reason::Reason,
    tuf::{
        Kind, Role, Target,
        signing::{self, Edition, Holders, Named, SigningKey},
    },
};

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A repository by one key, and a host that pins it.
pub(crate) struct Lab {
    key: SigningKey,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Clock,
}

pub(crate) fn wanted(content: &[u8]) -> Wanted {
    let Target { name, size, sha256, .. } = target(content);
    Wanted { target: name, size, sha256 }
}

fn target(content: &[u8]) -> Target {
    let sha256 = Sha256::of(content);
    let about = About {
        kind: Kind::Extension,
        publisher: "muster".to_owned(),
        type_name: sha256.to_string()[..8].to_owned(),
        version: "1.0.0".to_owned(),
        os: "linux".to_owned(),
        arch: "any".to_owned(),
    };
    Target { name: about.target_name(), size: content.len() as u64, sha256, about: Some(about) }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self {
            key: SigningKey::generate().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            clock: Clock::test(NOW),
        };
        fs::write(lab.root(), &lab.metadata(1, &[])["metadata/1.root.json"]).unwrap();
        lab
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root.json")
    }

    pub(crate) fn options(&self, quota: u64) -> Options {
        let folder = self.folder.path().join("store");
        Options { folder, root: self.root(), quota: Quota::new(move || quota), clock: self.clock.clone() }
    }

    fn store(&self, quota: u64) -> Store {
        Store::open(self.options(quota)).unwrap()
    }

    /// All metadata of one version, which names these files.
    pub(crate) fn metadata(&self, version: u64, contents: &[&[u8]]) -> Metadata {
        let expires = NOW + std::time::Duration::from_secs(1000);
        let of = |version| Edition { version: NonZeroU64::new(version).unwrap(), expires };
        let holders = Holders { keys: vec![self.key.public().clone()], threshold: 1 };
        let all = [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp];
        let signed = |role, draft: Vec<u8>| signing::sign(role, &draft, &self.key).unwrap();
        let root = signing::root(of(1), &all.map(|role| (role, holders.clone())).into());
        let targets: Vec<Target> = contents.iter().map(|content| target(content)).collect();
        let targets = signed(Role::Targets, signing::targets(of(version), &targets));
        let named = Named::of(of(version).version, &targets);
        let snapshot = signed(Role::Snapshot, signing::snapshot(of(version), &named));
        let named = Named::of(of(version).version, &snapshot);
        let timestamp = signed(Role::Timestamp, signing::timestamp(of(version), &named));
        [
            ("metadata/1.root.json".to_owned(), signed(Role::Root, root)),
            (format!("metadata/{version}.targets.json"), targets),
            (format!("metadata/{version}.snapshot.json"), snapshot),
            ("metadata/timestamp.json".to_owned(), timestamp),
        ]
        .into()
    }
}

fn reason<T: fmt::Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason()
}

#[test]
fn a_signed_file_is_admitted_once_and_read_by_its_digest() {
    let lab = Lab::new();
    let (store, wanted) = (lab.store(1 << 20), wanted(b"one"));
    assert_eq!(reason(store.admit(&wanted, &b"one"[..])), Reason::FetchFailed, "nothing is believed yet");
    store.believe(&lab.metadata(1, &[b"one"])).unwrap();
    assert_eq!(store.admitted(&wanted).unwrap(), None);
    let admitted = store.admit(&wanted, &b"one"[..]).unwrap();
    assert_eq!(admitted.about.as_ref().map(About::target_name), Some(wanted.target.clone()));
    let read = io::read_to_string(store.open_admitted(wanted.sha256).unwrap()).unwrap();
    assert_eq!(read, "one");
    let (_, signed) = store.open_signed(wanted.sha256).unwrap();
    assert_eq!(signed, [admitted.about.clone().unwrap()], "what was signed stands with it");
    let other = Wanted { target: "extension/muster/other/1.0.0/linux-any.tar.zst".to_owned(), ..wanted };
    assert_eq!(store.admitted(&other).unwrap(), None, "by that name it was never signed");
    let path = lab.folder.path().join("store/files").join(wanted.sha256.to_string());
    fs::write(path, "two").unwrap();
    let damaged = store.open_signed(wanted.sha256).unwrap_err();
    assert_eq!(damaged.kind(), io::ErrorKind::Other, "{damaged}");
    assert_eq!(store.admitted(&wanted).unwrap(), None, "what the disk damaged is fetched anew");
    store.admit(&wanted, &b"one"[..]).unwrap();
    // The next process has it, too; and nobody is asked for its bytes again.
    let store = lab.store(1 << 20);
    assert_eq!(store.admit(&wanted, io::empty()).unwrap(), admitted);
    assert_eq!(store.admitted(&wanted).unwrap(), Some(admitted));
}

#[test]
fn bytes_that_are_not_those_that_were_signed_are_refused_and_leave_nothing() {
    let lab = Lab::new();
    let (store, good) = (lab.store(1 << 20), wanted(b"right"));
    store.believe(&lab.metadata(1, &[b"right"])).unwrap();
    assert!(matches!(store.admit(&good, &b"wrong"[..]), Err(Error::Refused(tuf::Error::WrongDigest { .. }))));
    assert!(matches!(store.admit(&good, &b"rig"[..]), Err(Error::Refused(tuf::Error::WrongLength { .. }))));
    // Of what goes on without end only what was signed is read.
    let mut endless = Cursor::new(b"wrong and on".to_vec());
    assert_eq!(reason(store.admit(&good, &mut endless)), Reason::ArtifactUntrusted);
    assert_eq!(endless.stream_position().unwrap(), good.size);
    for folder in ["files", "parts"] {
        assert_eq!(fs::read_dir(lab.folder.path().join("store").join(folder)).unwrap().count(), 0);
    }
    for other in [
        Wanted { size: 6, ..good.clone() },
        Wanted { sha256: Sha256::of(b"x"), ..good.clone() },
        Wanted { target: "../../etc/passwd".to_owned(), ..good.clone() },
        Wanted { target: "extension/other".to_owned(), ..good.clone() },
    ] {
        assert_eq!(reason(store.admit(&other, &b"right"[..])), Reason::ArtifactUnknown, "{other:?}");
    }
    store.admit(&good, &b"right"[..]).unwrap();
}

#[test]
fn belief_never_goes_back_also_not_in_the_next_process() {
    let lab = Lab::new();
    lab.store(1 << 20).believe(&lab.metadata(2, &[b"new"])).unwrap();
    let store = lab.store(1 << 20);
    assert_eq!(reason(store.believe(&lab.metadata(1, &[b"old"]))), Reason::ArtifactRolledBack);
    assert_eq!(reason(store.admit(&wanted(b"old"), &b"old"[..])), Reason::ArtifactUnknown);
    store.admit(&wanted(b"new"), &b"new"[..]).unwrap();
    lab.clock.advance(std::time::Duration::from_secs(2000));
    assert_eq!(reason(store.believe(&lab.metadata(2, &[b"new"]))), Reason::ArtifactExpired);
    store.admitted(&wanted(b"new")).unwrap().expect("what was admitted stays, whatever the time");
}

#[test]
fn without_a_root_that_only_root_writes_nothing_is_believed() {
    let lab = Lab::new();
    let (store, metadata) = (lab.store(1 << 20), lab.metadata(1, &[]));
    fs::set_permissions(lab.root(), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(reason(store.believe(&metadata)), Reason::NoTrustRoot);
    fs::set_permissions(lab.root(), Permissions::from_mode(0o644)).unwrap();
    store.believe(&metadata).unwrap();
    for refused in [tuf::Error::NoTrustRoot(String::new()), tuf::Error::Damaged(String::new())] {
        assert_eq!(Error::from(refused).cause(), crate::state::Cause::Host);
    }
    let elsewhere = lab.folder.path().join("elsewhere.json");
    fs::rename(lab.root(), &elsewhere).unwrap();
    let no = store.believe(&metadata).unwrap_err();
    assert!(no.reason() == Reason::NoTrustRoot && no.to_string().contains("root.json"), "{no}");
    symlink(&elsewhere, lab.root()).unwrap();
    store.believe(&metadata).unwrap();
}

#[test]
fn what_was_believed_and_is_damaged_is_no_reason_to_believe_less_strictly() {
    let lab = Lab::new();
    let store = lab.store(1 << 20);
    store.believe(&lab.metadata(2, &[])).unwrap();
    fs::write(belief(&lab.folder.path().join("store")), "{").unwrap();
    let no = store.believe(&lab.metadata(1, &[])).unwrap_err();
    assert!(matches!(no, Error::Damaged { .. }), "{no}");
}

#[test]
fn the_longest_unused_goes_first_and_what_can_never_fit_is_refused() {
    let lab = Lab::new();
    let store = lab.store(10);
    let [a, b, c, large] = [&b"aaaa"[..], b"bbbb", b"cccc", b"eleven byte"];
    store.believe(&lab.metadata(1, &[a, b, c, large])).unwrap();
    store.admit(&wanted(a), a).unwrap();
    lab.clock.advance(std::time::Duration::from_secs(1));
    store.open_admitted(wanted(a).sha256).unwrap();
    store.admit(&wanted(b), b).unwrap();
    let past = lab.folder.path().join("store/files").join(wanted(b).sha256.to_string());
    File::options().append(true).open(past).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    store.admit(&wanted(c), c).unwrap();
    let there = |content: &[u8]| store.admitted(&wanted(content)).unwrap().is_some();
    assert_eq!((there(a), there(b), there(c)), (true, false, true));
    let full = store.admit(&wanted(large), large).unwrap_err();
    assert!(matches!(full, Error::Full { size: 11, quota: 10 }), "{full}");
    assert_eq!((there(a), there(c)), (true, true), "nothing goes for what cannot come");
}
