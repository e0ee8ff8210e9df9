use std::collections::BTreeMap;

use muster_domain::{
    assignment::{Assignment, Target},
    page::Page,
    settings::Profile,
};
use muster_store::{
    Error, ReadAssignments as _, ReadItemMarks as _, ReadProfiles as _, Store, WriteAssignments as _,
    WriteItemMarks as _, WriteProfiles as _,
};

use crate::{
    harness::{Database, NOW, note, pages, read, stamp, write},
    samples::{item_name, options},
};

fn profile(name: &str, version: u64) -> Profile {
    let values = options(&[("facts-interval", &format!("{version}m")), ("log-level", "debug")]);
    let (name, created_by) = (name.into(), "operator/alice".into());
    Profile { name, version, values, created_at: NOW, created_by, revision: 0 }
}

fn insert(store: &Store, name: &'static str, version: u64) -> u64 {
    write(store, move |tx| tx.profile_insert(&profile(name, version))).revision
}

fn shown(profiles: &[Profile]) -> Vec<String> {
    profiles.iter().map(|profile| format!("{}/{}", profile.name, profile.version)).collect()
}

fn assignment(name: &str, target: Target, priority: i32) -> Assignment {
    Assignment {
        name: name.into(),
        selector: "env=prod,!canary".into(),
        exclusions: vec!["role=db".into(), "@night, x".into()],
        scope: "env=prod | env=test".into(),
        target,
        staged: muster_domain::assignment::Staged::default(),
        priority,
        created_at: NOW,
        updated_at: NOW,
        updated_by: "operator/alice".into(),
        revision: 0,
    }
}

pub(crate) fn versions_of_profiles_come_newest_first(database: &impl Database) {
    let store = database.open();
    for (name, version) in [("b", 1), ("b", 2), ("a", 1), ("b", 10)] {
        insert(&store, name, version);
    }
    let revision = insert(&store, "a", 2);
    let all = ["a/2", "a/1", "b/10", "b/2", "b/1"];
    assert_eq!(shown(&read(&store, |tx| tx.profile_all())), all);
    for size in 1..6 {
        assert_eq!(shown(&pages(size, |page| read(&store, move |tx| tx.profile_list(&page, None)))), all);
        let of_b = pages(size, |page| read(&store, move |tx| tx.profile_list(&page, Some("b"))));
        assert_eq!(shown(&of_b), all[2..]);
    }
    let newest = Profile { revision, ..profile("a", 2) };
    assert_eq!(read(&store, |tx| tx.profile_get("a", None)), Some(newest));
    assert_eq!(
        read(&store, |tx| tx.profile_get("a", Some(1))).map(|it| it.values),
        Some(profile("a", 1).values)
    );
    assert_eq!(read(&store, |tx| tx.profile_get("a", Some(3))), None);
    let nonsense = Page { size: 1, after: Some("a".into()) };
    let refused = store.read_blocking(move |tx| tx.profile_list(&nonsense, None)).unwrap_err();
    assert!(matches!(refused, Error::PageKey(_)), "{refused}");
}

pub(crate) fn a_version_of_a_profile_is_neither_replaced_nor_given_again(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.profile_next_version("a")), 1);
    for version in 1..=3 {
        insert(&store, "a", version);
    }
    let again = store.write_blocking(stamp(), |tx| {
        tx.profile_insert(&profile("a", 1))?;
        tx.audit(note("a"))
    });
    assert!(matches!(again, Err(Error::Constraint(_))));
    assert_eq!(write(&store, |tx| tx.profile_delete("a", Some(3))).value, 1);
    assert_eq!(write(&store, |tx| tx.profile_delete("a", Some(3))).value, 0);
    assert_eq!(read(&store, |tx| tx.profile_get("a", None)).map(|it| it.version), Some(2));
    assert_eq!(read(&store, |tx| tx.profile_next_version("a")), 4);
    assert_eq!(write(&store, |tx| tx.profile_delete("a", None)).value, 2);
    assert_eq!(read(&store, |tx| tx.profile_next_version("a")), 4);
    assert_eq!(read(&store, |tx| tx.profile_all()), []);
}

pub(crate) fn assignments_come_back(database: &impl Database) {
    let store = database.open();
    let target = |profile: &str, version| Target::Settings { profile: profile.into(), version };
    let bundle = || assignment("z", Target::Bundle { name: "motd".into(), version: 7 }, -5);
    let settings = move || assignment("y", target("a", 2), i32::MAX);
    write(&store, move |tx| tx.assignment_put(&bundle()));
    let revision = write(&store, move |tx| tx.assignment_put(&settings())).revision;
    assert_eq!(read(&store, |tx| tx.assignment_get("y")), Some(Assignment { revision, ..settings() }));
    let moved = write(&store, move |tx| tx.assignment_put(&assignment("z", target("c", 1), 1)));
    let listed = pages(1, |page| read(&store, move |tx| tx.assignment_list(&page)));
    assert_eq!(listed, read(&store, |tx| tx.assignment_all()));
    assert_eq!(listed[1].target, target("c", 1));
    assert_eq!(listed[1].revision, moved.revision);
    assert!(write(&store, |tx| tx.assignment_delete("z")).value);
    assert_eq!(read(&store, |tx| tx.assignment_get("z")), None);
}

pub(crate) fn marks_rise_with_their_writes(database: &impl Database) {
    let store = database.open();
    let first = write(&store, |tx| tx.item_mark(&item_name("settings"))).revision;
    let second = write(&store, |tx| tx.item_mark(&item_name("bundle/motd"))).revision;
    let third = write(&store, |tx| tx.item_mark(&item_name("settings"))).revision;
    assert!(first < second && second < third, "a mark takes a revision of its own");
    let expected = BTreeMap::from([(item_name("settings"), third), (item_name("bundle/motd"), second)]);
    assert_eq!(read(&store, |tx| tx.item_mark_all()), expected);
}
