use std::collections::BTreeMap;

use muster_domain::{
    assignment::{Assignment, Target},
    settings::Profile,
};
use muster_store::{
    ReadAssignments as _, ReadItemMarks as _, ReadProfiles as _, WriteAssignments as _, WriteItemMarks as _,
    WriteProfiles as _,
};

use crate::{
    harness::{Database, NOW, pages, read, write},
    samples::{item_name, options},
};

fn profile(name: &str, value: &str) -> Profile {
    let values = options(&[("heartbeat-interval", value), ("log-level", "debug")]);
    Profile { name: name.into(), values, updated_at: NOW, updated_by: "operator/alice".into(), revision: 0 }
}

fn assignment(name: &str, target: Target, priority: i32) -> Assignment {
    Assignment {
        name: name.into(),
        selector: "env=prod,!canary".into(),
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

pub(crate) fn profiles_and_assignments_come_back(database: &impl Database) {
    let store = database.open();
    for name in ["b", "a", "c"] {
        write(&store, move |tx| tx.profile_put(&profile(name, "15s")));
    }
    let revision = write(&store, |tx| tx.profile_put(&profile("b", "30s"))).revision;
    let expected = Profile { revision, ..profile("b", "30s") };
    assert_eq!(read(&store, |tx| tx.profile_get("b")), Some(expected));
    let names: Vec<String> =
        pages(2, |page| read(&store, move |tx| tx.profile_list(&page))).into_iter().map(|p| p.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(write(&store, |tx| tx.profile_delete("b")).value);
    assert!(!write(&store, |tx| tx.profile_delete("b")).value);
    assert_eq!(read(&store, |tx| tx.profile_all()).len(), 2);

    let bundle = || assignment("z", Target::Bundle { name: "motd".into(), version: 7 }, -5);
    let settings = || assignment("y", Target::Settings { profile: "a".into() }, i32::MAX);
    write(&store, move |tx| tx.assignment_put(&bundle()));
    let revision = write(&store, move |tx| tx.assignment_put(&settings())).revision;
    assert_eq!(read(&store, |tx| tx.assignment_get("y")), Some(Assignment { revision, ..settings() }));
    let moved =
        write(&store, |tx| tx.assignment_put(&assignment("z", Target::Settings { profile: "c".into() }, 1)));
    let listed = pages(1, |page| read(&store, move |tx| tx.assignment_list(&page)));
    assert_eq!(listed, read(&store, |tx| tx.assignment_all()));
    assert_eq!(listed[1].target, Target::Settings { profile: "c".into() });
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
