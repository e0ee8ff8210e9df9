use std::time::Duration;

use muster_common::ids::{CommandId, OperationId};
use muster_domain::{
    command::{Command, Output, State},
    operation::Operation,
};
use muster_store::{Error, ReadCommands as _, ReadOperations as _, WriteCommands as _, WriteOperations as _};

use crate::{
    harness::{Database, NOW, note, pages, read, report, stamp, write},
    samples::{command, operation},
};

pub(crate) fn operations_come_back(database: &impl Database) {
    let store = database.open();
    for number in 1..=5 {
        write(&store, move |tx| tx.operation_insert(&operation(number)));
    }
    let id = OperationId::from_u128(3);
    assert_eq!(read(&store, move |tx| tx.operation_get(id)), Some(operation(3)));
    assert!(report(&store, move |tx| tx.operation_set_ended(id, NOW)).value);
    assert!(!report(&store, move |tx| tx.operation_set_ended(id, NOW)).value, "an end comes once");
    assert!(write(&store, move |tx| tx.operation_set_cancel(id)).value);
    assert!(!write(&store, move |tx| tx.operation_set_cancel(id)).value);
    let expected = Operation { cancel_requested: true, ended_at: Some(NOW), ..operation(3) };
    assert_eq!(read(&store, move |tx| tx.operation_get(id)), Some(expected));
    let open = read(&store, |tx| tx.operation_open_all());
    assert_eq!(open, [1, 2, 4, 5].map(operation));
    for size in 1..7 {
        let listed = pages(size, |page| read(&store, move |tx| tx.operation_list(&page)));
        let order: Vec<OperationId> = listed.iter().map(|operation| operation.id).collect();
        assert_eq!(order, [5, 4, 3, 2, 1].map(OperationId::from_u128), "newest first");
    }
}

pub(crate) fn counts_follow_commands(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| {
        tx.operation_insert(&operation(1))?;
        tx.operation_insert(&operation(2))?;
        tx.command_insert(&[command(1, 1, 1), command(2, 1, 2), command(3, 1, 3), command(4, 2, 1)])
    });
    let id = OperationId::from_u128(1);
    let ended = Command { state: State::Denied, ended_at: Some(NOW), ..command(2, 1, 2) };
    // Counted inside the write that moves them, as whoever ends operations does.
    let counts = report(&store, move |tx| {
        tx.command_put(&ended)?;
        tx.operation_counts(id)
    });
    let of = |state| counts.value.get(state);
    assert_eq!((of(State::Queued), of(State::Denied), counts.value.total()), (2, 1, 3));
    assert_eq!(read(&store, |tx| tx.operation_counts(OperationId::from_u128(9))).total(), 0);
}

pub(crate) fn a_request_id_is_taken_once(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.operation_insert(&operation(1)));
    assert_eq!(read(&store, |tx| tx.operation_by_request("operator/alice", "request-1")), Some(operation(1)));
    assert_eq!(read(&store, |tx| tx.operation_by_request("operator/bob", "request-1")), None);
    let same = || Operation { request_id: operation(1).request_id, ..operation(2) };
    let twice = store.write_blocking(stamp(), move |tx| {
        tx.operation_insert(&same())?;
        tx.audit(note("operation"))
    });
    assert!(matches!(twice, Err(Error::Constraint(_))));
    let (bobs, without) = (
        move || Operation { created_by: "operator/bob".into(), ..same() },
        |number| Operation { request_id: None, ..operation(number) },
    );
    write(&store, move |tx| {
        tx.operation_insert(&bobs())?;
        tx.operation_insert(&without(3))?;
        tx.operation_insert(&without(4))
    });
}

pub(crate) fn what_ended_long_ago_goes_in_steps(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| {
        (1..=3).try_for_each(|number| tx.operation_insert(&operation(number)))?;
        tx.command_insert(&[command(1, 1, 1), command(2, 1, 2), command(3, 1, 3), command(4, 2, 1)])?;
        tx.output_append(&Output {
            command: CommandId::from_u128(1),
            seq: 1,
            stderr: false,
            offset: 0,
            data: b"said".to_vec(),
            dropped_bytes: 0,
        })
    });
    let ids = [1, 2, 3].map(OperationId::from_u128);
    let second = Duration::from_secs(1);
    report(&store, move |tx| {
        tx.operation_set_ended(ids[0], NOW)?;
        tx.operation_set_ended(ids[1], NOW + second)
    });
    assert_eq!(report(&store, |tx| tx.operation_prune(NOW, 2)).value, 0, "nothing ended before that");
    let later = NOW + Duration::from_millis(1);
    let prune = || report(&store, move |tx| tx.operation_prune(later, 2)).value;
    assert_eq!((prune(), prune(), prune()), (2, 2, 0), "two commands, then one and its operation");
    assert_eq!(read(&store, move |tx| tx.operation_get(ids[0])), None);
    assert_eq!(read(&store, |tx| tx.output_list(CommandId::from_u128(1), 0, 9)), []);
    let kept = read(&store, move |tx| Ok((tx.operation_get(ids[1])?, tx.operation_get(ids[2])?)));
    assert!(kept.0.is_some() && kept.1 == Some(operation(3)), "younger, or not ended");
    assert_eq!(read(&store, move |tx| tx.operation_counts(ids[1])).total(), 1);
}

pub(crate) fn room_for_output_is_used_up(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.operation_insert(&operation(1)));
    let id = OperationId::from_u128(1);
    let room = || read(&store, move |tx| tx.operation_output_room(id));
    assert_eq!(room(), operation(1).output_limit);
    report(&store, move |tx| tx.operation_set_output_room(id, 7));
    assert_eq!(room(), 7);
    report(&store, move |tx| tx.operation_set_output_room(id, 0));
    assert_eq!(room(), 0);
    assert_eq!(
        read(&store, move |tx| tx.operation_get(id)),
        Some(operation(1)),
        "it is no change for watchers"
    );
}

pub(crate) fn the_newest_that_ended_are_known(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| (1..=4).try_for_each(|number| tx.operation_insert(&operation(number))));
    let at = |seconds| NOW + Duration::from_secs(seconds);
    for (number, seconds) in [(1, 3), (2, 1), (3, 2)] {
        report(&store, move |tx| tx.operation_set_ended(OperationId::from_u128(number), at(seconds)));
    }
    let since = |count| read(&store, move |tx| tx.operation_newest_since(count));
    assert_eq!([since(1), since(2), since(3), since(4)], [Some(at(3)), Some(at(2)), Some(at(1)), None]);
}
