//! What orders do in the model: they are counted, say something, and take their time.
//! The counts lie outside of everything that is ever taken back.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use muster_common::ids::CommandId;
use muster_node_agent::{
    commands::{Deeds, Doing, Stopping, Voice},
    state::{CommandState, Report, Ticket},
};
use muster_proto::types::v1 as types;
use prost::Message as _;

/// What an order does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deed {
    /// Pieces of output.
    pub(crate) pieces: u32,
    /// How long it takes after them.
    pub(crate) takes: Duration,
    /// Its exit code.
    pub(crate) code: i32,
}

/// How often each was done, ever.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<HashMap<CommandId, u32>>);

impl Deed {
    /// As the text of a script.
    pub(crate) fn text(self) -> String {
        format!("{} {} {}", self.pieces, self.takes.as_millis(), self.code)
    }

    pub(crate) fn parse(args: &[u8]) -> Self {
        let script = types::RunScript::decode(args).expect("arguments of a script").script;
        let words: Vec<u32> = script.split(' ').map(|word| word.parse().expect("a number")).collect();
        Self {
            pieces: words[0],
            takes: Duration::from_millis(u64::from(words[1])),
            code: i32::try_from(words[2]).expect("a small number"),
        }
    }

    /// What it says in all, on one of its two streams.
    pub(crate) fn said(self, id: CommandId, stderr: bool) -> Vec<u8> {
        let pieces = (0..self.pieces).filter(|n| (n % 2 == 1) == stderr);
        pieces.flat_map(|n| piece(id, n)).collect()
    }
}

fn piece(id: CommandId, n: u32) -> Vec<u8> {
    format!("{n} of {id}\n").into_bytes()
}

impl Counted {
    /// How often it was done.
    pub(crate) fn of(&self, id: CommandId) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied().unwrap_or(0)
    }

    /// All that was done.
    pub(crate) fn all(&self) -> Vec<(CommandId, u32)> {
        let mut all: Vec<_> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(id, n)| (*id, *n)).collect();
        all.sort_unstable();
        all
    }
}

impl Deeds for Counted {
    fn act<'a>(&'a self, ticket: &'a Ticket, voice: &'a Voice, stop: Stopping<'a>) -> Doing<'a> {
        Box::pin(async move {
            tokio::task::yield_now().await; // it may die before
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(ticket.id).or_default() += 1;
            tokio::task::yield_now().await; // and after
            let deed = Deed::parse(&ticket.args);
            for n in 0..deed.pieces {
                voice.output(n % 2 == 1, &piece(ticket.id, n)).await;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(deed.takes) => {
                    let state = if deed.code == 0 { CommandState::Succeeded } else { CommandState::Failed };
                    Report { exit_code: Some(deed.code), ..voice.report(state) }
                }
                why = stop => why.report(voice),
            }
        })
    }
}
