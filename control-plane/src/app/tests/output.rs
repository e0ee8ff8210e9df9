//! What is kept of output, and how it is read.

use bytes::Bytes;
use muster_domain::command::{Command, State};

use super::bench::{Bench, alice, hello, ledger, said, whole, wish};
use crate::{
    app::operations::{
        Wish,
        output::{From, Part},
    },
    session::{
        frames::{Chunk, CommandReport},
        hub::Handle,
        ports::Inbox as _,
    },
};

/// Two nodes with a command each of an operation of which so much is kept.
async fn ordered(bench: &Bench, limit: u64) -> Vec<(Command, Handle)> {
    let mut sessions = Vec::new();
    for number in 1..=2 {
        let node = bench.node(number).await;
        sessions.push((node, bench.hello(node, &hello(ledger(number, 1))).unwrap().0));
    }
    let asked = Wish { output_limit: Some(limit), ..wish("*") };
    let (operation, _) = bench.app.start_operation(&alice(), asked).await.unwrap();
    assert_eq!(operation.output_limit, limit);
    bench.app.hand_out().await.unwrap();
    let id = operation.id;
    let page = muster_domain::page::Page { size: 10, after: None };
    let commands = bench.app.commands(&whole(), id, page, false).await.unwrap().rows;
    let with_session = |(command, _): (Command, Vec<_>)| {
        let session = sessions.iter().find(|(node, _)| *node == command.node).unwrap().1.clone();
        (command, session)
    };
    commands.into_iter().map(with_session).collect()
}

async fn say(bench: &Bench, (command, session): &(Command, Handle), seq: u64, stderr: bool, text: &str) {
    let output = Some(Chunk { stderr, data: Bytes::copy_from_slice(text.as_bytes()), dropped_bytes: 0 });
    bench.app.command(session, CommandReport { output, ..said(command, seq, State::Running) }).unwrap();
    bench.app.record().await.unwrap();
}

async fn read(bench: &Bench, command: &Command, stderr: bool, offset: u64, bytes: usize) -> Part {
    bench.app.read_output(&whole(), From { command: command.id, stderr, offset, bytes }).await.unwrap()
}

#[tokio::test]
async fn all_commands_of_an_operation_have_one_limit_and_each_says_that_it_is_cut() {
    let bench = Bench::following().await;
    let orders = ordered(&bench, 30).await;
    say(&bench, &orders[0], 1, false, "first line\nsecond line\n").await;
    say(&bench, &orders[1], 1, false, "one\ntwo\nthree\n").await;
    say(&bench, &orders[1], 2, false, "x\n").await;
    say(&bench, &orders[0], 2, true, "oh\n").await;
    let marker = "[muster: output cut here, at the limit of its operation]\n";
    let first = bench.command(&orders[0].0).await;
    assert_eq!((first.output_bytes, first.stderr_bytes), (23 + marker.len() as u64, marker.len() as u64));
    assert_eq!(first.dropped_bytes, 3);
    let second = bench.command(&orders[1].0).await;
    assert_eq!((second.output_bytes, second.dropped_bytes), (4 + marker.len() as u64, 12));
    let part = read(&bench, &second, false, 0, 1000).await;
    assert_eq!(String::from_utf8(part.data).unwrap(), format!("one\n{marker}"));
}

#[tokio::test]
async fn output_is_read_in_pages_from_any_place() {
    let bench = Bench::following().await;
    let orders = ordered(&bench, 1000).await;
    let order = &orders[0];
    say(&bench, order, 1, false, "one\n").await;
    say(&bench, order, 2, true, "aside\n").await;
    say(&bench, order, 3, false, "two\nthree\n").await;
    let part = |offset, text: &str, next, ended| Part { data: text.into(), offset, next, ended };
    assert_eq!(read(&bench, &order.0, false, 0, 1000).await, part(0, "one\ntwo\nthree\n", 14, false));
    assert_eq!(read(&bench, &order.0, true, 2, 1000).await, part(2, "ide\n", 6, false));
    bench.app.command(&order.1, said(&order.0, 4, State::Succeeded)).unwrap();
    bench.app.record().await.unwrap();
    assert_eq!(read(&bench, &order.0, false, 2, 5).await, part(2, "e\ntwo", 7, false));
    assert_eq!(read(&bench, &order.0, false, 7, 7).await, part(7, "\nthree\n", 14, true));
    assert_eq!(read(&bench, &order.0, false, 99, 7).await, part(99, "", 99, true));
    assert_eq!(read(&bench, &orders[1].0, false, 0, 7).await, part(0, "", 0, false));
}
