use muster_domain::group::Group;
use muster_store::{ChangeKind, ReadChanges as _, ReadGroups as _, WriteGroups as _};

use crate::harness::{Database, NOW, pages, read, write};

fn group(name: &str, selector: &str) -> Group {
    Group {
        name: name.into(),
        selector: selector.into(),
        description: "first line\nsecond \"line\"".into(),
        created_at: NOW,
        updated_at: NOW,
        updated_by: "operator/alice".into(),
        revision: 0,
    }
}

pub(crate) fn groups_come_back_and_are_on_the_feed(database: &impl Database) {
    let store = database.open();
    for name in ["b", "a", "c"] {
        write(&store, move |tx| tx.group_put(&group(name, "env=prod")));
    }
    let revision = write(&store, |tx| tx.group_put(&group("b", "env in (prod,test)"))).revision;
    let expected = Group { revision, ..group("b", "env in (prod,test)") };
    assert_eq!(read(&store, |tx| tx.group_get("b")), Some(expected));
    let changes = read(&store, move |tx| tx.changes_since(revision - 1, 10));
    assert_eq!(
        changes.iter().map(|it| (it.kind, it.id.as_str())).collect::<Vec<_>>(),
        [(ChangeKind::Group, "b")]
    );
    let listed = pages(2, |page| read(&store, move |tx| tx.group_list(&page)));
    assert_eq!(listed, read(&store, |tx| tx.group_all()));
    assert_eq!(listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(write(&store, |tx| tx.group_delete("b")).value);
    assert!(!write(&store, |tx| tx.group_delete("b")).value);
    assert_eq!(read(&store, |tx| tx.group_get("b")), None);
}
