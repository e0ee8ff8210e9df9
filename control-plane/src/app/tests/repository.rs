//! A signed repository for tests: one key signs all, and files are whatever is asked for.

use std::{collections::BTreeMap, num::NonZeroU64};

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    tuf::{
        About, Kind, Role, Target,
        signing::{self, Edition, Holders, Named, SigningKey},
    },
};

use super::bench::{Bench, NOW, alice};
use crate::app::{
    App,
    artifacts::Files,
    blobs::{Begun, Wish},
};

/// Who signs.
pub(super) struct Maker {
    key: SigningKey,
    /// Metadata of the newest edition, and all roots.
    pub(super) files: Files,
    /// When what is signed next ends.
    pub(super) expires: UnixMillis,
}

/// A package of an extension.
pub(super) fn package(version: &str, arch: &str, content: &[u8]) -> (Target, Vec<u8>) {
    file(Kind::Extension, ["muster", "exporter"], version, arch, content)
}

/// A file of a release.
pub(super) fn release(version: &str, arch: &str, content: &[u8]) -> (Target, Vec<u8>) {
    file(Kind::Release, ["", ""], version, arch, content)
}

fn file(kind: Kind, of: [&str; 2], version: &str, arch: &str, content: &[u8]) -> (Target, Vec<u8>) {
    let [publisher, type_name, version, os, arch] =
        [of[0], of[1], version, "linux", arch].map(ToOwned::to_owned);
    let about = About { kind, publisher, type_name, version, os, arch };
    let (name, size, sha256) = (about.target_name(), content.len() as u64, Sha256::of(content));
    (Target { name, size, sha256, about: Some(about) }, content.to_vec())
}

impl Maker {
    pub(super) fn new() -> Self {
        let key = SigningKey::generate().unwrap();
        let mut maker =
            Self { key, files: Files::new(), expires: NOW + std::time::Duration::from_secs(30 * 86_400) };
        let holders = || Holders { keys: vec![maker.key.public().clone()], threshold: 1 };
        let all: BTreeMap<Role, Holders> =
            [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp].map(|role| (role, holders())).into();
        let root = maker.sign(Role::Root, &signing::root(maker.edition(1), &all));
        maker.files.insert("metadata/1.root.json".to_owned(), root);
        maker
    }

    fn edition(&self, version: u64) -> Edition {
        Edition { version: NonZeroU64::new(version).unwrap(), expires: self.expires }
    }

    fn sign(&self, role: Role, draft: &[u8]) -> Vec<u8> {
        signing::sign(role, draft, &self.key).unwrap()
    }

    /// Signs an edition of all but the root.
    pub(super) fn edit(&mut self, version: u64, targets: &[Target]) {
        let of = self.edition(version);
        let targets = self.sign(Role::Targets, &signing::targets(of, targets));
        let snapshot = signing::snapshot(of, &Named::of(of.version, &targets));
        let snapshot = self.sign(Role::Snapshot, &snapshot);
        let timestamp = signing::timestamp(of, &Named::of(of.version, &snapshot));
        let timestamp = self.sign(Role::Timestamp, &timestamp);
        self.files.retain(|path, _| path.ends_with("root.json"));
        self.files.insert(format!("metadata/{version}.targets.json"), targets);
        self.files.insert(format!("metadata/{version}.snapshot.json"), snapshot);
        self.files.insert("metadata/timestamp.json".to_owned(), timestamp);
    }

    /// Brings files here, signs an edition that names them, and publishes it.
    pub(super) async fn publish(&mut self, app: &App, version: u64, files: &[(Target, Vec<u8>)]) {
        for (_, content) in files {
            upload(app, content).await;
        }
        let targets: Vec<Target> = files.iter().map(|(target, _)| target.clone()).collect();
        self.edit(version, &targets);
        app.publish_repository(&alice(), self.files.clone(), false).await.unwrap();
    }

    /// A bench that trusts this one.
    pub(super) async fn bench(&self) -> Bench {
        Bench::trusting(&self.files["metadata/1.root.json"]).await
    }
}

/// Makes a blob of some bytes.
pub(super) async fn upload(app: &App, content: &[u8]) {
    let wish =
        Wish { sha256: Sha256::of(content), size_bytes: content.len() as u64, upload: None, offset: 0 };
    if let Begun::Go(mut receiving) = app.begin_upload(&alice(), wish).await.unwrap() {
        receiving.write(content).await.unwrap();
        app.finish_upload(&alice(), *receiving).await.unwrap();
    }
}
