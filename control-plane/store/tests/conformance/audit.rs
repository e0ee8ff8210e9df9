use muster_domain::{
    audit::{self, Entry, Filter, Stamp},
    page::Page,
};
use muster_store::{
    Error, ReadAssignments as _, ReadAudit as _, ReadBundles as _, ReadMeta as _, ReadProfiles as _, Store,
    WriteBundles as _, WriteCommands as _, WriteJoinTokens as _, WriteNodes as _, WriteOperations as _,
    WriteTx,
};

use crate::{
    harness::{Database, note, pages, read, report, stamp, write},
    samples::{bundle, command, issued, join_token, node, operation},
};

fn entries(store: &Store, subject: &str, actor: &str) -> Vec<Entry> {
    let filter = Filter { subject: subject.into(), actor: actor.into(), ..Filter::default() };
    let listed = pages(2, |page| {
        let filter = filter.clone();
        read(store, move |tx| tx.audit_list(&page, &filter))
    });
    listed.into_iter().map(|(_, entry)| entry).collect()
}

fn audit_as(store: &Store, actor: &str, subject: &'static str) {
    let stamp = Stamp { actor: actor.into(), ..stamp() };
    store.write_blocking::<_, Error, _>(stamp, move |tx| tx.audit(note(subject))).unwrap();
}

pub(crate) fn chains_hold_and_are_listed_the_newest_first(database: &impl Database) {
    let (a, b) = (database.open_with(|o| o.with_replica("a")), database.open_with(|o| o.with_replica("b")));
    let steps =
        [(&a, "alice", "x"), (&b, "bob", "x"), (&a, "bob", "y"), (&b, "alice", "x"), (&a, "alice", "x")];
    for (store, actor, subject) in steps {
        audit_as(store, actor, subject);
    }
    let shown =
        |entries: Vec<Entry>| entries.iter().map(|e| format!("{}{}", e.replica, e.seq)).collect::<Vec<_>>();
    assert_eq!(shown(entries(&a, "", "")), ["a3", "b2", "a2", "b1", "a1"]);
    assert_eq!(shown(entries(&a, "x", "")), ["a3", "b2", "b1", "a1"]);
    assert_eq!(shown(entries(&a, "", "bob")), ["a2", "b1"]);
    assert_eq!(shown(entries(&a, "x", "alice")), ["a3", "b2", "a1"]);
    let mut of_a: Vec<Entry> = entries(&a, "", "").into_iter().filter(|e| e.replica == "a").collect();
    of_a.reverse();
    assert_eq!(audit::verify(&of_a), Ok(()));
    assert_eq!(read(&a, |tx| tx.audit_last("a")), of_a.last().cloned());
    assert_eq!(read(&a, |tx| tx.audit_last("c")), None);
    assert_eq!(read(&a, |tx| Ok((tx.audit_verify("a")?, tx.audit_verify("b")?))), (None, None));
    let nonsense = Page { size: 1, after: Some("x".into()) };
    let refused = a.read_blocking(move |tx| tx.audit_list(&nonsense, &Filter::default())).unwrap_err();
    assert!(matches!(refused, Error::PageKey(_)), "{refused}");
}

type Change = fn(&mut WriteTx<'_>) -> Result<(), Error>;

/// Each kind of change that callers make. Those of hosts are tried with their nouns, without an entry.
const CHANGES: [(&str, Change); 7] = [
    ("a node", |tx| tx.node_insert(&node(2))),
    ("a node", |tx| tx.node_edit(node(1).id, "new", &Default::default()).map(drop)),
    ("a node", |tx| tx.node_delete(node(1).id).map(drop)),
    ("a node's certificate", |tx| {
        let pair = muster_domain::certificate::NodeCertificate {
            current: issued(1),
            next: Some(Box::new(issued(2))),
        };
        tx.node_set_certificate(node(1).id, &pair).map(drop)
    }),
    ("a join token", |tx| tx.join_token_insert(&join_token(1, 1))),
    ("a bundle", |tx| tx.bundle_insert(&bundle("motd", 1, b"x"), b"x")),
    ("an operation", |tx| {
        tx.operation_insert(&operation(1))?;
        tx.command_insert(&[command(1, 1, 1)])
    }),
];

pub(crate) fn a_write_without_its_entry_is_refused(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.node_insert(&node(1)));
    let before = read(&store, |tx| tx.revision());
    for (what, change) in CHANGES {
        let refused = store.write_blocking::<_, Error, _>(stamp(), change).unwrap_err();
        assert!(matches!(refused, Error::Unaudited(found) if found == what), "{what}: {refused}");
    }
    assert_eq!(read(&store, |tx| tx.revision()), before);
    assert_eq!(
        read(&store, |tx| Ok((tx.bundle_all()?.len(), tx.profile_all()?.len(), tx.assignment_all()?.len()))),
        (0, 0, 0)
    );
    assert_eq!(read(&store, |tx| tx.audit_verify("main")), None);
    for (_, change) in CHANGES {
        write(&store, change);
    }
}

pub(crate) fn a_refused_call_leaves_an_entry(database: &impl Database) {
    let store = database.open();
    let before = *store.committed().borrow();
    let denied = |tx: &mut WriteTx<'_>| tx.audit(audit::Note { denied: true, ..note("nodes.delete") });
    let revision = report(&store, denied).revision;
    assert_eq!(revision, before, "an entry alone is no change");
    let entry = read(&store, |tx| tx.audit_last("main")).unwrap();
    assert!(entry.note.denied);
    assert_eq!(entry.stamp, stamp());
}

pub(crate) fn a_tampered_entry_is_found(database: &impl Database) {
    let store = database.open();
    // More than are checked at once.
    report(&store, |tx| (0..2300).try_for_each(|n| tx.audit(note(format!("node/{n}")))));
    let verify = || read(&store, |tx| tx.audit_verify("main"));
    assert_eq!(verify(), None);
    database.tamper("UPDATE audit SET actor = 'operator/eve' WHERE seq = 1000");
    assert_eq!(verify(), Some(1000));
    database.tamper("UPDATE audit SET actor = 'operator/alice' WHERE seq = 1000");
    assert_eq!(verify(), None);
    database.tamper("DELETE FROM audit WHERE seq = 1000");
    assert_eq!(verify(), Some(1001), "the first after a hole");
    database.tamper("DELETE FROM audit WHERE seq < 1500");
    assert_eq!(verify(), Some(1500), "a chain starts with 1");
}
