use std::time::Duration;

use muster_common::{digest::Sha256, ids::SecretId};
use muster_domain::{
    artifact::{Kind, Repository, Role, Target},
    assignment::{Assignment, Staged, Target as Gives},
    extension::Extension,
    release::{Channel, Release},
    secret::Secret,
};
use muster_store::{
    ChangeKind, Error, ReadArtifacts as _, ReadAssignments as _, ReadChanges as _, ReadExtensions as _,
    ReadReleases as _, ReadSecrets as _, WriteArtifacts as _, WriteAssignments as _, WriteExtensions as _,
    WriteReleases as _, WriteSecrets as _,
};

use crate::harness::{Database, NOW, note, pages, read, stamp, write};

fn target(name: &str, version: &str) -> Target {
    Target {
        name: name.into(),
        sha256: Sha256::of(name.as_bytes()),
        size_bytes: 7,
        kind: Kind::Extension,
        publisher: "muster".into(),
        of_type: "x".into(),
        version: version.into(),
        os: "linux".into(),
        arch: "any".into(),
        since: NOW,
    }
}

fn repository(version: u64) -> Repository {
    let role = Role { version, expires_at: NOW + Duration::from_secs(9), since: NOW };
    Repository {
        root: role,
        targets: role,
        snapshot: role,
        timestamp: role,
        published_at: NOW,
        published_by: "operator/alice".into(),
        files: vec!["metadata/timestamp.json".into()],
        kept: "{\"a\": \"\\n\"}".into(),
    }
}

pub(crate) fn a_state_of_the_repository_takes_the_place_of_the_one_before(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.repository_get()), None);
    for version in [1, 2] {
        write(&store, move |tx| {
            tx.repository_put(&repository(version))?;
            tx.metadata_put("metadata/timestamp.json", &[0, 255, u8::try_from(version).unwrap()])?;
            tx.metadata_put(&format!("metadata/{version}.root.json"), b"root")
        });
    }
    let revision = write(&store, |tx| tx.metadata_delete("metadata/1.root.json")).revision;
    assert_eq!(read(&store, |tx| tx.repository_get()), Some((repository(2), 2)));
    assert_eq!(read(&store, |tx| tx.metadata_get("metadata/timestamp.json")), Some(vec![0, 255, 2]));
    assert_eq!(read(&store, |tx| tx.metadata_get("metadata/1.root.json")), None);
    assert_eq!(read(&store, |tx| tx.metadata_paths()), ["metadata/2.root.json", "metadata/timestamp.json"]);
    let changes = read(&store, |tx| tx.changes_since(0, 10));
    assert!(
        revision >= 2 && changes.iter().all(|change| change.kind == ChangeKind::Artifacts),
        "{changes:?}"
    );
}

pub(crate) fn targets_are_replaced_together(database: &impl Database) {
    let store = database.open();
    let agent = || Target {
        kind: Kind::Release,
        publisher: String::new(),
        of_type: String::new(),
        ..target("d", "9")
    };
    write(&store, move |tx| tx.target_replace(&[target("c", "1"), target("a", "1"), agent()]));
    write(&store, move |tx| tx.target_replace(&[target("b", "2"), target("a", "1"), agent()]));
    let listed = pages(2, |page| read(&store, move |tx| tx.target_list(&page)));
    assert_eq!(listed, [target("a", "1"), target("b", "2"), agent()]);
    assert_eq!(listed, read(&store, |tx| tx.target_all()));
    assert_eq!(read(&store, |tx| tx.target_get("c")), None);
    let of_package = read(&store, |tx| tx.target_of_package(Kind::Extension, "muster", "x"));
    assert_eq!(of_package, [target("a", "1"), target("b", "2")]);
    assert_eq!(read(&store, |tx| tx.target_of_package(Kind::Release, "", "")), [agent()]);
}

fn extension(version: u64) -> Extension {
    Extension {
        name: "metrics".into(),
        version,
        sha256: Sha256::of(&[u8::try_from(version).unwrap()]),
        publisher: "muster".into(),
        of_type: "x".into(),
        package_version: "1.0.0".into(),
        created_at: NOW,
        created_by: "operator/alice".into(),
    }
}

pub(crate) fn versions_of_extensions_keep_their_numbers_and_their_secrets(database: &impl Database) {
    let store = database.open();
    let secret = || Secret { id: SecretId::from_u128(1), key_id: "k".into(), sealed: vec![7] };
    let id = secret().id;
    write(&store, move |tx| {
        tx.secret_put(&secret())?;
        tx.extension_insert(&extension(1), b"one", Some(id))?;
        tx.extension_insert(&extension(2), b"two", None)
    });
    assert_eq!(read(&store, |tx| tx.extension_get("metrics", None)), Some(extension(2)));
    assert_eq!(read(&store, |tx| tx.extension_payload("metrics", 1)), Some(b"one".to_vec()));
    assert_eq!(
        pages(1, |page| read(&store, move |tx| tx.extension_list(&page, None))),
        [extension(2), extension(1)]
    );
    assert_eq!(read(&store, |tx| tx.secret_of_extension("metrics", 1)), Some(secret()));
    assert_eq!(read(&store, |tx| tx.secret_of_extension("metrics", 2)), None);
    assert_eq!(read(&store, move |tx| tx.secret_in_extensions(id, "other")), None);
    let twice = store.write_blocking(stamp(), |tx| {
        tx.extension_insert(&extension(2), b"other", None)?;
        tx.audit(note("extension/metrics"))
    });
    assert!(matches!(twice, Err(Error::Constraint(_))), "a version is never replaced");
    write(&store, |tx| tx.secret_sweep());
    assert_eq!(
        read(&store, move |tx| tx.secret_in_extensions(id, "metrics")),
        Some(secret()),
        "it is in use"
    );
    let deleted = write(&store, |tx| {
        let deleted = tx.extension_delete("metrics", None)?;
        tx.secret_sweep()?;
        Ok(deleted)
    });
    assert_eq!(deleted.value, 2);
    assert_eq!(read(&store, |tx| tx.secret_keys()), []);
    assert_eq!(read(&store, |tx| tx.extension_next_version("metrics")), 3);
    let changes = read(&store, move |tx| tx.changes_since(deleted.revision - 1, 10));
    let ids: Vec<_> = changes.iter().map(|change| (change.kind, change.id.as_str())).collect();
    assert_eq!(ids, [(ChangeKind::Extension, "metrics/1"), (ChangeKind::Extension, "metrics/2")]);
}

pub(crate) fn releases_are_withdrawn_and_come_back(database: &impl Database) {
    let store = database.open();
    let release = |version: &str, withdrawn_at| Release {
        version: version.into(),
        sha256: Sha256::of(version.as_bytes()),
        published_at: NOW,
        withdrawn_at,
    };
    let first = release("0.2.0", None);
    write(&store, {
        let first = first.clone();
        move |tx| tx.release_put(&first, b"payload")
    });
    let later = NOW + Duration::from_secs(1);
    write(&store, move |tx| tx.release_withdraw("0.2.0", later));
    write(&store, move |tx| tx.release_withdraw("0.2.0", later + Duration::from_secs(1)));
    assert_eq!(read(&store, |tx| tx.release_get("0.2.0")), Some(release("0.2.0", Some(later))));
    write(&store, {
        let first = first.clone();
        move |tx| tx.release_put(&first, b"other")
    });
    assert_eq!(read(&store, |tx| tx.release_all()), [first]);
    assert_eq!(read(&store, |tx| tx.release_payload("0.2.0")), Some(b"other".to_vec()));
    let channel = |revision| Channel {
        name: "stable".into(),
        version: "0.2.0".into(),
        updated_at: NOW,
        updated_by: "operator/alice".into(),
        revision,
    };
    let revision = write(&store, move |tx| tx.channel_put(&channel(0))).revision;
    assert_eq!(read(&store, |tx| tx.channel_get("stable")), Some(channel(revision)));
    assert_eq!(read(&store, |tx| tx.channel_all()), [channel(revision)]);
    let dangling = store.write_blocking(stamp(), move |tx| {
        tx.channel_put(&Channel { version: "9.9.9".into(), ..channel(0) })?;
        tx.audit(note("channel/stable"))
    });
    assert!(matches!(dangling, Err(Error::Constraint(_))), "a release that is not there");
}

pub(crate) fn assignments_give_extensions_and_releases(database: &impl Database) {
    let store = database.open();
    let targets = [
        Gives::Extension { name: "metrics".into(), version: 3 },
        Gives::Release { version: "0.2.0-rc.1".into() },
    ];
    for (name, target) in ["a", "b"].into_iter().zip(targets) {
        let assignment = Assignment {
            name: name.into(),
            selector: "*".into(),
            exclusions: Vec::new(),
            scope: "*".into(),
            target: target.clone(),
            staged: Staged { variants: vec![target], ..Staged::default() },
            priority: 0,
            created_at: NOW,
            updated_at: NOW,
            updated_by: "operator/alice".into(),
            revision: 0,
        };
        let stored = assignment.clone();
        let revision = write(&store, move |tx| tx.assignment_put(&stored)).revision;
        let expected = Assignment { revision, ..assignment };
        assert_eq!(read(&store, move |tx| tx.assignment_get(name)), Some(expected));
    }
}
