//! Each attack on an update, against metadata that was made with real keys.

use std::{collections::BTreeMap, num::NonZeroU64};

use super::{
    signing::{self, Edition, Holders, Named, SigningKey},
    *,
};
use crate::{clock::UnixMillis, digest::Sha256};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const LATER: UnixMillis = UnixMillis(NOW.0 + 1_000_000);

/// A repository with the keys to sign it.
struct Maker {
    offline: Vec<SigningKey>,
    online: SigningKey,
    files: BTreeMap<String, Vec<u8>>,
}

fn edition(version: u64) -> Edition {
    Edition { version: NonZeroU64::new(version).unwrap(), expires: LATER }
}

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

fn target(content: &[u8]) -> Target {
    let about = About {
        kind: Kind::Extension,
        publisher: "muster".to_owned(),
        type_name: "x".to_owned(),
        version: "1.0.0".to_owned(),
        os: "linux".to_owned(),
        arch: "any".to_owned(),
    };
    let sha256 = Sha256::of(content);
    Target { name: about.target_name(), size: content.len() as u64, sha256, about: Some(about) }
}

impl Maker {
    /// With two offline keys, of which both must sign, and the first edition of all.
    fn new() -> Self {
        let mut maker = Self { offline: vec![key(), key()], online: key(), files: BTreeMap::new() };
        maker.root(1, &[]);
        maker.rest(1, b"one");
        maker
    }

    fn holders(&self) -> BTreeMap<Role, Holders> {
        let offline: Vec<_> = self.offline.iter().map(|key| key.public().clone()).collect();
        let online = vec![self.online.public().clone()];
        [(Role::Root, offline.clone(), 2), (Role::Targets, offline, 2)]
            .into_iter()
            .chain([Role::Snapshot, Role::Timestamp].map(|role| (role, online.clone(), 1)))
            .map(|(role, keys, threshold)| (role, Holders { keys, threshold }))
            .collect()
    }

    fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(format!("metadata/{path}"), bytes);
    }

    /// A root by the keys of now, signed by those of before, too.
    fn root(&mut self, version: u64, before: &[SigningKey]) {
        let draft = signing::root(edition(version), &self.holders());
        let signed = self
            .offline
            .iter()
            .chain(before)
            .fold(draft, |bytes, key| signing::sign(Role::Root, &bytes, key).unwrap());
        self.put(&format!("{version}.root.json"), signed);
    }

    fn rest(&mut self, version: u64, content: &[u8]) {
        let of = edition(version);
        let draft = signing::targets(of, &[target(content)]);
        let targets =
            self.offline.iter().fold(draft, |bytes, key| signing::sign(Role::Targets, &bytes, key).unwrap());
        self.finish(of, targets);
    }

    fn finish(&mut self, of: Edition, targets: Vec<u8>) {
        let version = of.version;
        let snapshot = signing::snapshot(of, &Named::of(version, &targets));
        let snapshot = signing::sign(Role::Snapshot, &snapshot, &self.online).unwrap();
        let timestamp = signing::timestamp(of, &Named::of(version, &snapshot));
        let timestamp = signing::sign(Role::Timestamp, &timestamp, &self.online).unwrap();
        self.put(&format!("{version}.targets.json"), targets);
        self.put(&format!("{version}.snapshot.json"), snapshot);
        self.put("timestamp.json", timestamp);
    }

    fn pinned(&self) -> Vec<u8> {
        self.files["metadata/1.root.json"].clone()
    }
}

/// What comes of an update from these files; what was kept before goes in, what is kept
/// after comes out.
fn update(
    files: &BTreeMap<String, Vec<u8>>,
    pinned: &[u8],
    kept: &mut Option<Kept>,
) -> Result<Repository, Error> {
    update_at(files, pinned, kept, NOW)
}

fn update_at(
    files: &BTreeMap<String, Vec<u8>>,
    pinned: &[u8],
    kept: &mut Option<Kept>,
    now: UnixMillis,
) -> Result<Repository, Error> {
    let mut update = Update::begin(pinned, kept.as_ref(), now)?;
    let mut taken = Ok(());
    while let (Some(want), true) = (update.wants(), taken.is_ok()) {
        taken = update.take(files.get(&want.path).map(Vec::as_slice));
    }
    // Over the disk, as everybody keeps it.
    *kept = Some(serde_json::from_str(&serde_json::to_string(&update.kept()).unwrap()).unwrap());
    taken.and_then(|()| update.finish())
}

#[test]
fn an_honest_repository_is_believed_and_so_is_what_was_kept_of_it() {
    let (maker, mut kept) = (Maker::new(), None);
    let repository = update(&maker.files, &maker.pinned(), &mut kept).unwrap();
    let wanted = target(b"one");
    assert_eq!(repository.target(&wanted.name), Ok(wanted.clone()));
    assert_eq!(repository.path(&wanted), format!("targets/{}.{}", wanted.sha256, wanted.name));
    assert_eq!(
        repository.target("agent/1.0.0/linux-any.tar.zst").map_err(|e| e.reason()),
        Err(crate::reason::Reason::ArtifactUnknown)
    );
    let kept = kept.unwrap();
    assert_eq!(kept.repository(&maker.pinned(), NOW).unwrap().targets().unwrap(), [wanted]);
    assert!(matches!(kept.repository(&maker.pinned(), LATER), Err(Error::Expired { role: Role::Root, .. })));
}

#[test]
fn what_is_older_than_what_was_trusted_is_refused_also_after_a_restart() {
    let (mut maker, mut kept) = (Maker::new(), None);
    let old = maker.files.clone();
    maker.rest(2, b"two");
    update(&maker.files, &maker.pinned(), &mut kept).unwrap();
    let refused = update(&old, &maker.pinned(), &mut kept).unwrap_err();
    assert_eq!(refused, Error::Rollback { role: Role::Timestamp, trusted: 2, offered: 1 });
    assert_eq!(
        update(&maker.files, &maker.pinned(), &mut kept).unwrap().targets().unwrap(),
        [target(b"two")]
    );
}

#[test]
fn a_new_snapshot_does_not_bring_old_targets_back() {
    let (mut maker, mut kept) = (Maker::new(), None);
    let old_targets = maker.files["metadata/1.targets.json"].clone();
    maker.rest(2, b"two");
    update(&maker.files, &maker.pinned(), &mut kept).unwrap();
    // Who has the online key signs a third snapshot of the first targets.
    let online = |maker: &mut Maker| {
        let one = NonZeroU64::new(1).unwrap();
        let snapshot = signing::snapshot(edition(3), &Named::of(one, &old_targets));
        let snapshot = signing::sign(Role::Snapshot, &snapshot, &maker.online).unwrap();
        let named = Named::of(NonZeroU64::new(3).unwrap(), &snapshot);
        let timestamp = signing::timestamp(edition(3), &named);
        maker.put("timestamp.json", signing::sign(Role::Timestamp, &timestamp, &maker.online).unwrap());
        maker.put("3.snapshot.json", snapshot);
    };
    online(&mut maker);
    let refused = update(&maker.files, &maker.pinned(), &mut kept).unwrap_err();
    assert_eq!(refused, Error::Rollback { role: Role::Targets, trusted: 2, offered: 1 });
}

#[test]
fn a_repository_that_stands_still_is_refused_once_its_time_is_over() {
    let (maker, mut kept) = (Maker::new(), None);
    update(&maker.files, &maker.pinned(), &mut kept).unwrap();
    let refused = update_at(&maker.files, &maker.pinned(), &mut kept, LATER).unwrap_err();
    assert_eq!(refused.reason(), crate::reason::Reason::ArtifactExpired);
    update(&maker.files, &maker.pinned(), &mut kept).unwrap();
}

#[test]
fn metadata_of_different_days_does_not_mix() {
    let (mut maker, pinned) = (Maker::new(), Maker::pinned);
    let old = maker.files.clone();
    maker.rest(2, b"two");
    for name in ["snapshot", "targets"] {
        let mut mixed = maker.files.clone();
        mixed.insert(format!("metadata/2.{name}.json"), old[&format!("metadata/1.{name}.json")].clone());
        let refused = update(&mixed, &pinned(&maker), &mut None).unwrap_err();
        assert!(matches!(refused, Error::MixedUp { .. }), "{name}: {refused}");
    }
}

#[test]
fn metadata_without_end_is_not_read() {
    let maker = Maker::new();
    for (name, role) in [
        ("timestamp.json", Role::Timestamp),
        ("1.snapshot.json", Role::Snapshot),
        ("1.targets.json", Role::Targets),
        ("2.root.json", Role::Root),
    ] {
        let mut files = maker.files.clone();
        let long = vec![b' '; usize::try_from(role.most()).unwrap() + 1];
        files.insert(format!("metadata/{name}"), long);
        let refused = update(&files, &maker.pinned(), &mut None).unwrap_err();
        assert_eq!(refused, Error::Endless { what: role.to_string(), most: role.most() });
    }
}

#[test]
fn below_the_threshold_nothing_counts_and_one_key_counts_once() {
    let mut maker = Maker::new();
    let draft = signing::targets(edition(2), &[target(b"evil")]);
    let once = signing::sign(Role::Targets, &draft, &maker.offline[0]).unwrap();
    maker.finish(edition(2), once.clone());
    let threshold = Error::BelowThreshold { role: Role::Targets, valid: 1, threshold: 2 };
    assert_eq!(update(&maker.files, &maker.pinned(), &mut None).unwrap_err(), threshold);
    // The same signature twice.
    let mut twice: serde_json::Value = serde_json::from_slice(&once).unwrap();
    let signature = twice["signatures"][0].clone();
    twice["signatures"].as_array_mut().unwrap().push(signature);
    maker.finish(edition(2), twice.to_string().into_bytes());
    let refused = update(&maker.files, &maker.pinned(), &mut None).unwrap_err();
    assert_eq!(refused.reason(), crate::reason::Reason::ArtifactUntrusted, "{refused}");
    // A key of the online role signs no targets.
    let by_online = signing::sign(Role::Targets, &once, &maker.online).unwrap();
    maker.finish(edition(2), by_online);
    assert_eq!(update(&maker.files, &maker.pinned(), &mut None).unwrap_err(), threshold);
    maker.rest(2, b"two");
    update(&maker.files, &maker.pinned(), &mut None).unwrap();
}

#[test]
fn one_key_by_two_names_is_no_root() {
    let maker = Maker::new();
    let mut root: serde_json::Value = serde_json::from_slice(&maker.pinned()).unwrap();
    let id = maker.offline[0].public().id().to_owned();
    let mut key = root["signed"]["keys"][&id].clone();
    key["by"] = "another name".into();
    let parsed: tough::schema::key::Key = serde_json::from_value(key.clone()).unwrap();
    let other = hex::encode(parsed.key_id().unwrap());
    root["signed"]["keys"][&other] = key;
    root["signed"]["roles"]["root"]["keyids"] = serde_json::json!([id, other]);
    root["signatures"] = serde_json::json!([]);
    let signed = signing::sign(Role::Root, root.to_string().as_bytes(), &maker.offline[0]).unwrap();
    let refused = Update::begin(&signed, None, NOW).unwrap_err();
    assert!(refused.to_string().contains("a key twice for root"), "{refused}");
}

#[test]
fn a_chain_of_roots_is_followed_link_by_link_and_stays() {
    let (mut maker, mut kept) = (Maker::new(), None);
    let pinned = maker.pinned();
    let first = std::mem::replace(&mut maker.offline, vec![key(), key()]);
    maker.root(2, &first);
    let second = std::mem::replace(&mut maker.offline, vec![key(), key()]);
    maker.root(3, &second);
    maker.rest(2, b"two");
    let mut skipping = maker.files.clone();
    let third = skipping.remove("metadata/3.root.json").unwrap();
    skipping.insert("metadata/2.root.json".to_owned(), third.clone());
    let refused = update(&skipping, &pinned, &mut None).unwrap_err();
    assert!(matches!(refused, Error::BelowThreshold { role: Role::Root, valid: 0, .. }), "{refused}");
    // By the right keys, but not the next.
    let mut leaping = maker.files.clone();
    let leap = first.iter().fold(third, |bytes, key| signing::sign(Role::Root, &bytes, key).unwrap());
    leaping.insert("metadata/2.root.json".to_owned(), leap);
    let refused = update(&leaping, &pinned, &mut None).unwrap_err();
    assert_eq!(refused, Error::RootSkipped { expected: 2, offered: 3 });
    let repository = update(&maker.files, &pinned, &mut kept).unwrap();
    assert_eq!(repository.versions(), [3, 2, 2, 2]);
    // The keys of the first root are worth nothing any more, also where the chain is hidden.
    let mut hidden = Maker::new();
    hidden.offline = first;
    hidden.online = maker.online;
    hidden.rest(9, b"evil");
    let refused = update(&hidden.files, &pinned, &mut kept).unwrap_err();
    assert!(matches!(refused, Error::BelowThreshold { role: Role::Targets, .. }), "{refused}");
}

#[test]
fn new_online_keys_bring_back_a_repository_that_was_wound_forward() {
    let (mut maker, mut kept) = (Maker::new(), None);
    let pinned = maker.pinned();
    // Who had the online key signed a version that nobody reaches.
    let mut wound = Maker { offline: Vec::new(), online: key(), files: maker.files.clone() };
    std::mem::swap(&mut wound.online, &mut maker.online);
    let targets = wound.files["metadata/1.targets.json"].clone();
    let snapshot = signing::snapshot(edition(u64::MAX), &Named::of(NonZeroU64::MIN, &targets));
    let snapshot = signing::sign(Role::Snapshot, &snapshot, &wound.online).unwrap();
    let timestamp = signing::timestamp(edition(u64::MAX), &Named::of(NonZeroU64::MAX, &snapshot));
    wound.put("timestamp.json", signing::sign(Role::Timestamp, &timestamp, &wound.online).unwrap());
    wound.put(&format!("{}.snapshot.json", u64::MAX), snapshot);
    update(&wound.files, &pinned, &mut kept).unwrap();
    maker.root(2, &[]);
    maker.rest(2, b"two");
    let repository = update(&maker.files, &pinned, &mut kept).unwrap();
    assert_eq!(repository.versions(), [2, 2, 2, 2]);
}

#[test]
fn roots_without_end_are_not_followed() {
    let mut maker = Maker::new();
    for version in 2..=u64::from(MOST_ROOTS) + 2 {
        maker.root(version, &[]);
    }
    let refused = update(&maker.files, &maker.pinned(), &mut None).unwrap_err();
    assert_eq!(refused, Error::TooManyRoots { most: MOST_ROOTS });
}

#[test]
fn another_pinned_root_begins_the_chain_anew_above_the_same_floor() {
    let (mut maker, mut kept) = (Maker::new(), None);
    let old = maker.files.clone();
    maker.rest(2, b"two");
    update(&maker.files, &maker.pinned(), &mut kept).unwrap();
    maker.root(2, &[]);
    let newer = maker.files["metadata/2.root.json"].clone();
    let refused = update(&old, &newer, &mut kept).unwrap_err();
    assert_eq!(refused, Error::Rollback { role: Role::Timestamp, trusted: 2, offered: 1 });
}

#[test]
fn what_is_damaged_begins_nothing() {
    let maker = Maker::new();
    for pinned in
        [&b""[..], b"{}", b"{\"signed\":{},\"signatures\":[]}", &maker.files["metadata/timestamp.json"]]
    {
        assert!(matches!(Update::begin(pinned, None, NOW), Err(Error::NoTrustRoot(_))));
    }
    let mut kept = None;
    update(&maker.files, &maker.pinned(), &mut kept).unwrap();
    let damaged = serde_json::to_string(&kept.unwrap()).unwrap().replace("sig", "gis");
    let damaged: Kept = serde_json::from_str(&damaged).unwrap();
    assert!(matches!(Update::begin(&maker.pinned(), Some(&damaged), NOW), Err(Error::Damaged(_))));
}

#[test]
fn names_are_safe_paths() {
    for good in ["a", "extension/muster/x/1.0.0+b/linux-any.tar.zst", "A_b-c"] {
        assert_eq!(check_name(good), Ok(()));
    }
    let long = "a".repeat(257);
    for bad in
        ["", "/a", "a/", "a//b", "..", "a/../b", ".a", "a/.b", "a b", "a\0", "a\\b", "ä", "%2e%2e/a", &long]
    {
        assert!(check_name(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_key_comes_back_from_its_file() {
    let made = key();
    let read = SigningKey::from_pem(&made.to_pem().unwrap()).unwrap();
    assert_eq!(read.public(), made.public());
    assert!(SigningKey::from_pem("no key").is_err());
    assert!(!format!("{made:?}").contains("PRIVATE"));
}
