//! A program of a package that runs: a unit of its own where there can be units, otherwise a
//! child of the agent with a process group of its own.

use std::{collections::BTreeSet, io, time::Duration};

use muster_common::{ids::CommandId, tasks};

use super::{output::Output, record::Trace};
use crate::{
    depot::Launch,
    platform::{
        process::{self, Group},
        runs::NotStarted,
    },
    verbs::{Depots, runs::Look},
};

/// Between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(5);
/// Between looks at a unit: soon at first, since most verbs are short.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(5);
const SOON_LOOKS: u32 = 50;
/// It is asked so often, with this in between, of what may only just begin.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_millis(500);
/// Kept of the end of its output.
const TAIL: usize = 4096;

/// It runs, or has ended.
pub(super) struct Program {
    depots: Depots,
    how: How,
}

enum How {
    Unit { id: CommandId, at: [u64; 2], tail: Vec<u8>, looks: u32 },
    Child { group: Box<Group>, output: Output },
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) is_well: bool,
    /// "exit status 3", for people.
    pub(super) how: String,
    pub(super) out_of_memory: bool,
    pub(super) output: Vec<u8>,
}

impl Program {
    /// Starts one. A child waits until it is released, so that it can be written down first.
    pub(super) async fn start(depots: &Depots, launch: &Launch) -> Result<Self, NotStarted> {
        let how = if depots.has_units() {
            How::Unit { id: launch.id, at: [0, 0], tail: Vec::new(), looks: 0 }
        } else {
            let order = depots.order(launch).await.map_err(NotStarted::Host)?;
            let (first, rest) = order.program.split_first().ok_or(NotStarted::UserUnknown)?;
            let mut command = process::gated(first, &order.environment).map_err(NotStarted::Host)?;
            command.args(rest).current_dir(&order.folder);
            let mut group = Group::spawn(command).map_err(NotStarted::Host)?;
            let output = Output::of(&mut group);
            How::Child { group: Box::new(group), output }
        };
        Ok(Self { depots: depots.clone(), how })
    }

    /// How a later agent can know it.
    pub(super) fn trace(&self) -> Option<Trace> {
        match &self.how {
            How::Unit { id, .. } => Some(Trace::Unit(*id)),
            How::Child { group, .. } => group.mark().map(Trace::Child),
        }
    }

    /// It begins. Until then nothing of it has.
    pub(super) async fn release(&mut self, launch: &Launch) -> Result<(), NotStarted> {
        match &mut self.how {
            How::Unit { .. } => self.depots.launch(launch).await,
            How::Child { group, .. } => group.release().await.map_err(NotStarted::Host),
        }
    }

    /// The program that an earlier agent left, if it still runs and can be followed.
    pub(super) async fn adopt(depots: &Depots, trace: &Trace) -> Option<Self> {
        let Trace::Unit(id) = trace else { return None };
        let look = seen(depots, *id).await?;
        let runs = look.state.is_known && look.state.ended.is_none() && !look.is_gone && look.state.survives;
        let how = How::Unit { id: *id, at: [0, 0], tail: Vec::new(), looks: SOON_LOOKS };
        runs.then(|| Self { depots: depots.clone(), how })
    }

    /// Waits for its end. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> Ended {
        match &mut self.how {
            How::Child { group, output } => {
                let status = group.wait().await;
                let output = output.tail().await;
                match status {
                    Ok(status) => {
                        let how = status.to_string();
                        Ended { is_well: status.success(), how, out_of_memory: false, output }
                    }
                    Err(error) => Ended::lost(&error, output),
                }
            }
            How::Unit { id, at, tail, looks } => loop {
                match self.depots.look(*id, *at).await {
                    Ok(look) => {
                        for (at, piece) in at.iter_mut().zip(&look.state.pieces) {
                            *at += piece.len() as u64;
                            tail.extend_from_slice(piece);
                        }
                        let surplus = tail.len().saturating_sub(TAIL);
                        tail.drain(..surplus);
                        let is_more = look.state.pieces.iter().any(|piece| !piece.is_empty());
                        match look.state.ended {
                            Some(ended) if !is_more => {
                                return Ended {
                                    is_well: ended.exit_code == Some(0) && ended.not_started.is_none(),
                                    how: how(&ended),
                                    out_of_memory: ended.out_of_memory,
                                    output: std::mem::take(tail),
                                };
                            }
                            None if look.is_gone => {
                                let error = io::Error::other("what watched over it was ended");
                                return Ended::lost(&error, std::mem::take(tail));
                            }
                            _ if is_more => continue,
                            _ => {}
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot see how a program of an extension stands"),
                }
                *looks += 1;
                tokio::time::sleep(if *looks < SOON_LOOKS { SOON } else { LATER }).await;
            },
        }
    }

    /// Ends all of it.
    pub(super) async fn end(self) -> io::Result<()> {
        match self.how {
            How::Child { mut group, .. } => group.end(GRACE).await.map(drop),
            How::Unit { id, .. } => self.depots.end(id).await,
        }
    }

    /// Forgets one that has ended.
    pub(super) async fn forget(self) {
        if let How::Unit { id, .. } = self.how
            && let Err(error) = self.depots.end(id).await
        {
            tracing::warn!(command = %id, %error, "what is left of {id} could not be cleared away");
        }
    }
}

impl Ended {
    fn lost(error: &io::Error, output: Vec<u8>) -> Self {
        Self { is_well: false, how: format!("was lost: {error}"), out_of_memory: false, output }
    }
}

/// How a unit stands, from an executor that may only just begin.
async fn seen(depots: &Depots, id: CommandId) -> Option<Look> {
    for _ in 0..TRIES {
        match depots.look(id, [u64::MAX, u64::MAX]).await {
            Ok(look) => return Some(look),
            Err(error) => tracing::warn!(%error, command = %id, "cannot see yet how {id} stands"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    None
}

/// Ends every unit of which no record knows: whoever started it ended before it wrote that down.
pub(super) async fn end_unnamed(depots: &Depots, named: &BTreeSet<CommandId>) {
    for _ in 0..TRIES {
        let ids = match depots.list().await {
            Ok(ids) => ids,
            Err(error) => {
                tracing::warn!(%error, "cannot see yet which programs of extensions there are");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        for id in ids.into_iter().filter(|id| !named.contains(id)) {
            if let Err(error) = depots.end(id).await {
                tracing::warn!(%error, command = %id, "{id}, a program of an extension, may go on");
            }
        }
        return;
    }
}

/// Ends what an earlier agent started and this one cannot follow.
pub(super) async fn end_leftover(depots: &Depots, trace: &Trace) -> io::Result<()> {
    match trace {
        Trace::Unit(id) => depots.end(*id).await,
        Trace::Child(mark) => {
            let mark = mark.clone();
            let _ = tasks::blocking(move || process::kill_leftover(&mark)).await; // or there was nothing
            Ok(())
        }
    }
}

fn how(ended: &crate::platform::supervise::Ended) -> String {
    match (&ended.not_started, ended.exit_code, ended.signal) {
        (Some(why), ..) => format!("could not be started: {why}"),
        (None, Some(code), _) => format!("exit status: {code}"),
        (None, None, signal) => format!("signal: {}", signal.unwrap_or_default()),
    }
}
