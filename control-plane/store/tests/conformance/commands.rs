use std::time::Duration;

use muster_common::{ids::CommandId, reason::Reason};
use muster_domain::command::{Command, Output, State};
use muster_store::{ReadChanges as _, ReadCommands as _, Store, WriteCommands as _, WriteOperations as _};

use crate::{
    harness::{Database, NOW, pages, read, report, write},
    samples::{self, command, operation},
};

/// Two operations with three commands each, on three nodes.
fn started(database: &impl Database) -> Store {
    let store = database.open();
    for number in 1..=2 {
        let commands: Vec<Command> = (1..=3).map(|node| command(number * 10 + node, number, node)).collect();
        write(&store, move |tx| {
            tx.operation_insert(&operation(number))?;
            tx.command_insert(&commands)
        });
    }
    store
}

fn ids(commands: &[Command]) -> Vec<u128> {
    (1..100).filter(|n| commands.iter().any(|command| command.id == CommandId::from_u128(*n))).collect()
}

pub(crate) fn open_commands_are_found(database: &impl Database) {
    let store = started(database);
    let ended = Command { state: State::Succeeded, ended_at: Some(NOW), ..command(11, 1, 1) };
    let running = Command { state: State::Running, ..command(12, 1, 2) };
    report(&store, move |tx| Ok((tx.command_put(&ended)?, tx.command_put(&running)?)));
    let node = command(11, 1, 1).node;
    assert_eq!(ids(&read(&store, move |tx| tx.command_open_for_node(node))), [21]);
    assert_eq!(ids(&read(&store, |tx| tx.command_open_all())), [12, 13, 21, 22, 23]);
    assert_eq!(read(&store, |tx| tx.command_count_open()), 5);
    let operation = command(11, 1, 1).operation;
    assert_eq!(ids(&read(&store, move |tx| tx.command_of_operation_open(operation))), [12, 13]);
    let listed = pages(2, |page| read(&store, move |tx| tx.command_list(operation, &page)));
    assert_eq!((listed.len(), ids(&listed)), (3, vec![11, 12, 13]));
    // Of operation 1 there is one on a host, and it may run for as long as the operation says.
    let answer_by = command(11, 1, 1).deliver_by + samples::operation(1).run_timeout;
    assert_eq!(read(&store, move |tx| tx.command_unanswered(answer_by - Duration::from_millis(1))), []);
    assert_eq!(ids(&read(&store, move |tx| tx.command_unanswered(answer_by))), [12]);
    let deliver_by = command(11, 1, 1).deliver_by;
    assert_eq!(read(&store, move |tx| tx.command_due(deliver_by - Duration::from_millis(1))), []);
    assert_eq!(ids(&read(&store, move |tx| tx.command_due(deliver_by))), [13, 21, 22, 23]);
}

pub(crate) fn a_command_keeps_every_field(database: &impl Database) {
    let store = started(database);
    let full = Command {
        state: State::Failed,
        exit_code: Some(-1),
        signal: Some(9),
        reason: Some(Reason::TooLarge),
        message: "no".into(),
        result: vec![1, 2],
        cancel_requested: true,
        cancel_forced: true,
        report_seq: 7,
        output_bytes: 8,
        stderr_bytes: 3,
        dropped_bytes: 9,
        updated_at: NOW + Duration::from_secs(1),
        ended_at: Some(NOW + Duration::from_secs(2)),
        ..command(11, 1, 1)
    };
    let put = full.clone();
    let written = report(&store, move |tx| tx.command_put(&put));
    assert!(written.value);
    let id = full.id;
    assert_eq!(read(&store, move |tx| tx.command_get(id)), Some(full));
    let changes = read(&store, move |tx| tx.changes_since(written.revision - 1, 10));
    assert_eq!(changes.len(), 1);
    assert!(!report(&store, |tx| tx.command_put(&command(99, 1, 1))).value, "there is no such command");
    assert_eq!(read(&store, |tx| tx.command_get(CommandId::from_u128(99))), None);
}

pub(crate) fn output_knows_its_place(database: &impl Database) {
    let store = started(database);
    let before = *store.committed().borrow();
    let piece = |seq, stderr, data: &[u8], dropped_bytes| Output {
        command: CommandId::from_u128(11),
        seq,
        stderr,
        offset: 0,
        data: data.to_vec(),
        dropped_bytes,
    };
    let pieces = [
        piece(2, false, b"hello", 0),
        piece(3, true, b"oh", 10),
        piece(5, false, "wörld".as_bytes(), 0),
        piece(6, true, b"no", 0),
    ];
    for piece in pieces.clone().into_iter().chain([pieces[2].clone()]) {
        report(&store, move |tx| tx.output_append(&piece));
    }
    let stored = read(&store, |tx| tx.output_list(CommandId::from_u128(11), 0, 100));
    let offsets: Vec<(u64, u64)> = stored.iter().map(|piece| (piece.seq, piece.offset)).collect();
    assert_eq!(offsets, [(2, 0), (3, 0), (5, 5), (6, 12)], "what was cut counts, what was repeated does not");
    assert_eq!(stored[2].data, pieces[2].data);
    let places = read(&store, |tx| tx.output_places(CommandId::from_u128(11), false));
    let told: Vec<(u64, u64, u64)> = places.iter().map(|it| (it.seq, it.offset, it.bytes)).collect();
    assert_eq!(told, [(2, 0, 5), (5, 5, 6)]);
    assert_eq!(read(&store, |tx| tx.output_get(CommandId::from_u128(11), 5)).as_ref(), Some(&stored[2]));
    assert_eq!(read(&store, |tx| tx.output_get(CommandId::from_u128(11), 4)), None);
    let part = read(&store, |tx| tx.output_list(CommandId::from_u128(11), 2, 2));
    assert_eq!(part, stored[1..3]);
    assert_eq!(*store.committed().borrow(), before, "output stays off the feed");
}

pub(crate) fn the_end_of_a_stream_is_a_number_whatever_was_cut(database: &impl Database) {
    let store = started(database);
    for (seq, dropped_bytes) in
        [(1, i64::MAX.cast_unsigned()), (2, i64::MAX.cast_unsigned()), (3, u64::MAX), (4, 1)]
    {
        let piece = Output {
            command: CommandId::from_u128(11),
            seq,
            stderr: false,
            offset: 0,
            data: b"x".to_vec(),
            dropped_bytes,
        };
        report(&store, move |tx| tx.output_append(&piece));
    }
    let stored = read(&store, |tx| tx.output_list(CommandId::from_u128(11), 0, 100));
    let offsets: Vec<u64> = stored.iter().map(|piece| piece.offset).collect();
    assert_eq!(offsets, [0, 1 << 63, u64::MAX, u64::MAX]);
}
