use muster_common::ids::{CommandId, OperationId};
use muster_domain::{
    command::{Command, State},
    lease::{InFlight, Lease},
    operation::{Operation, Plan},
};
use muster_store::{
    ChangeKind, ReadChanges as _, ReadCommands as _, ReadLeases as _, ReadOperations as _,
    WriteCommands as _, WriteLeases as _, WriteOperations as _,
};

use crate::{
    harness::{Database, NOW, pages, read, report, write},
    samples::{command, operation},
};

fn lease(name: &str, limit: u32) -> Lease {
    Lease {
        name: name.into(),
        limit,
        kinds: vec!["reboot".into(), "run-script".into()],
        description: "first line\nsecond \"line\"".into(),
        created_at: NOW,
        updated_at: NOW,
        updated_by: "operator/alice".into(),
        revision: 0,
    }
}

pub(crate) fn leases_come_back_and_are_on_the_feed(database: &impl Database) {
    let store = database.open();
    for name in ["b", "a", "c"] {
        write(&store, move |tx| tx.lease_put(&lease(name, 1)));
    }
    let revision = write(&store, |tx| tx.lease_put(&lease("b", 7))).revision;
    assert_eq!(read(&store, |tx| tx.lease_get("b")), Some(Lease { revision, ..lease("b", 7) }));
    let changes = read(&store, move |tx| tx.changes_since(revision - 1, 10));
    assert_eq!(
        changes.iter().map(|it| (it.kind, it.id.as_str())).collect::<Vec<_>>(),
        [(ChangeKind::Lease, "b")]
    );
    let listed = pages(2, |page| read(&store, move |tx| tx.lease_list(&page)));
    assert_eq!(listed, read(&store, |tx| tx.lease_all()));
    assert_eq!(listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(write(&store, |tx| tx.lease_delete("b")).value);
    assert!(!write(&store, |tx| tx.lease_delete("b")).value);
    assert_eq!(read(&store, |tx| tx.lease_get("b")), None);
}

/// Operations 1 and 2 have three commands each; only 2 names a lease.
pub(crate) fn places_are_counted_from_what_is_in_flight(database: &impl Database) {
    let store = database.open();
    for number in 1..=2 {
        let commands: Vec<Command> = (1..=3).map(|node| command(number * 10 + node, number, node)).collect();
        write(&store, move |tx| {
            tx.operation_insert(&operation(number))?;
            tx.command_insert(&commands)
        });
    }
    assert_eq!(read(&store, |tx| tx.command_in_flight()), []);
    let moved = [
        Command { state: State::Delivered, ..command(11, 1, 1) },
        Command { state: State::Running, ..command(12, 1, 2) },
        Command { state: State::Running, ..command(21, 2, 1) },
        Command { state: State::Failed, ended_at: Some(NOW), ..command(22, 2, 2) },
    ];
    report(&store, move |tx| moved.iter().try_for_each(|command| tx.command_put(command).map(drop)));
    let mut in_flight = read(&store, |tx| tx.command_in_flight());
    in_flight.sort_by_key(|it| it.count);
    let flight = |lease: Option<&str>, count| InFlight {
        kind: "run-script".into(),
        lease: lease.map(Into::into),
        count,
    };
    assert_eq!(in_flight, [flight(Some("reboots"), 1), flight(None, 2)]);
    assert!(read(&store, |tx| tx.lease_is_named("reboots")));
    let id = OperationId::from_u128(2);
    report(&store, move |tx| tx.operation_set_ended(id, NOW));
    assert!(!read(&store, |tx| tx.lease_is_named("reboots")), "it has ended");
}

pub(crate) fn what_is_superseded_and_what_is_retried_is_found(database: &impl Database) {
    let store = database.open();
    let key = operation(2).plan.supersede.unwrap().key;
    for number in [1, 2, 4, 6] {
        write(&store, move |tx| tx.operation_insert(&operation(number)));
    }
    let id = OperationId::from_u128;
    report(&store, move |tx| tx.operation_set_ended(id(4), NOW));
    let (open, newest) = (key.clone(), key);
    assert_eq!(read(&store, move |tx| tx.operation_open_with_key(&open)), [id(2), id(6)]);
    assert_eq!(read(&store, move |tx| tx.operation_newest_with_key(&newest)), Some(id(6)));
    assert_eq!(read(&store, |tx| tx.operation_newest_with_key("other")), None);
    assert_eq!(read(&store, move |tx| tx.operation_plan(id(2))), Some(operation(2).plan));
    assert_eq!(read(&store, move |tx| tx.operation_plan(id(1))), Some(Plan::default()));

    write(&store, |tx| tx.command_insert(&[command(11, 1, 1), command(12, 1, 2), command(13, 1, 3)]));
    let failed = |n, node| Command { state: State::Failed, ended_at: Some(NOW), ..command(n, 1, node) };
    let again = Command { retry_of: Some(CommandId::from_u128(11)), ..command(21, 2, 1) };
    let kept = again.clone();
    write(&store, move |tx| {
        tx.command_put(&failed(11, 1))?;
        tx.command_put(&failed(12, 2))?;
        tx.command_insert(std::slice::from_ref(&again))
    });
    assert_eq!(read(&store, |tx| tx.command_get(CommandId::from_u128(21))), Some(kept));
    let states = [State::Failed, State::Expired, State::Queued];
    assert_eq!(read(&store, move |tx| tx.command_to_retry(id(1), &states)), [failed(12, 2)]);
    assert_eq!(read(&store, move |tx| tx.command_to_retry(id(1), &[State::Expired])), []);

    assert!(write(&store, move |tx| tx.operation_set_forced(id(1))).value);
    assert!(!write(&store, move |tx| tx.operation_set_forced(id(1))).value);
    let forced = Operation { cancel_requested: true, cancel_forced: true, ..operation(1) };
    assert_eq!(read(&store, move |tx| tx.operation_get(id(1))), Some(forced));
}
