//! The write that hands orders out: who gets one, who does not any more, and what holds
//! the others.

use std::sync::Arc;

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, OperationId},
    reason::Reason,
};
use muster_domain::{
    command::{self, Command, Event, State},
    operation::{
        Counts,
        pace::{Hold, Pacing, Room, Step, decide},
    },
};
use muster_store::{ReadCommands as _, ReadOperations as _, WriteCommands as _, WriteTx};

use super::{
    judge::{Judge, Verdict},
    places::Places,
};
use crate::app::{
    App, Error,
    events::Ends,
    operations::OpenOperation,
    recorder::{Ended, end_operations},
};

/// Some orders of one operation, in order.
pub(super) struct Turn {
    pub(super) operation: Arc<OpenOperation>,
    pub(super) orders: Vec<CommandId>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) operation: OperationId,
    /// Those that were looked at.
    pub(super) tried: Vec<CommandId>,
    /// Those of them that went out, or ended.
    pub(super) moved: Vec<Command>,
    /// Those that ended now, without their hosts.
    withdrawn: Vec<Command>,
    /// Why no more were.
    pub(super) hold: Option<Hold>,
    /// Some of its commands have ended, or are to.
    ends: bool,
    /// Those that have.
    seen: Ends,
}

/// The numbers by which an operation is decided.
struct Numbers<'a> {
    pacing: &'a Pacing,
    counts: Counts,
    rooms: Vec<Room>,
    not_before: Option<UnixMillis>,
    now: UnixMillis,
}

impl Numbers<'_> {
    fn decide(&self) -> Step {
        decide(self.pacing, &self.counts, &self.rooms, self.not_before, self.now)
    }

    fn hand_out(&mut self, count: u32) {
        self.counts.shift(State::Queued, State::Delivered, count);
        for room in &mut self.rooms {
            room.taken = room.taken.saturating_add(count);
        }
    }
}

/// What came of each operation, and what ended by it.
pub(super) fn deliver(
    tx: &mut WriteTx<'_>,
    app: &App,
    turns: &[Turn],
    known: u64,
    now: UnixMillis,
) -> Result<(Vec<Came>, Ended), Error> {
    let (mut places, mut judge) = (Places::read(tx)?, Judge::new(app, known));
    let mut all = Vec::with_capacity(turns.len());
    for turn in turns {
        let operation = &turn.operation;
        let numbers = numbers(tx, &mut places, operation, now)?;
        let (mut came, handed) = deliver_one(tx, &mut judge, turn, numbers)?;
        std::mem::take(&mut came.seen).tell(tx)?;
        places.take(&operation.kind, operation.plan.lease.as_deref(), handed);
        all.push(came);
    }
    let touched = all.iter().filter(|came| came.ends).map(|came| came.operation).collect();
    let withdrawn = all.iter_mut().flat_map(|came| std::mem::take(&mut came.withdrawn));
    let ended = end_operations(tx, touched, now)?.and(withdrawn);
    Ok((all, ended))
}

fn numbers<'a>(
    tx: &mut WriteTx<'_>,
    places: &mut Places,
    operation: &'a OpenOperation,
    now: UnixMillis,
) -> Result<Numbers<'a>, Error> {
    let plan = &operation.plan;
    let is_paced = plan.pacing != Pacing::default();
    let counts = if is_paced { tx.operation_counts(operation.id)? } else { Counts::default() };
    let rooms = places.rooms(tx, &operation.kind, plan.lease.as_deref())?;
    let not_before = plan.waits_here_until(operation.not_before, &rooms);
    Ok(Numbers { pacing: &plan.pacing, counts, rooms, not_before, now })
}

fn deliver_one(
    tx: &mut WriteTx<'_>,
    judge: &mut Judge<'_>,
    turn: &Turn,
    mut numbers: Numbers<'_>,
) -> Result<(Came, u32), Error> {
    let (operation, now) = (&turn.operation, numbers.now);
    let (tried, moved, withdrawn) = (Vec::new(), Vec::new(), Vec::new());
    let (hold, ends, seen) = (None, false, Ends::default());
    let mut came = Came { operation: operation.id, tried, moved, withdrawn, hold, ends, seen };
    let allowed = match numbers.decide() {
        Step::HandOut(allowed) => allowed,
        Step::Hold(hold) => return Ok((Came { hold: Some(hold), ..came }, 0)),
        Step::Stop => return Ok((Came { tried: turn.orders.clone(), ends: true, ..came }, 0)),
    };
    let mut handed = 0;
    for id in &turn.orders {
        if handed == allowed {
            break;
        }
        came.tried.push(*id);
        let Some(command) = tx.command_get(*id)? else { continue };
        let event = match judge.judge(tx, &operation.plan.preconditions, command.node)? {
            Verdict::Goes => Event::Delivered,
            Verdict::Later => continue,
            Verdict::Unmet(what) => Event::Withdrawn(Reason::PreconditionFailed, what),
        };
        let Ok(next) = command::apply(&command, &event, now) else { continue };
        if next != command {
            tx.command_put(&next)?;
            came.seen.saw(command.state, &next);
            handed += u32::from(next.state == State::Delivered);
            if next.state.is_end() {
                came.ends = true;
                came.withdrawn.push(next.clone());
            }
        }
        came.moved.push(next);
    }
    numbers.hand_out(handed);
    if handed == allowed
        && let Step::Hold(hold) = numbers.decide()
    {
        came.hold = Some(hold);
    }
    Ok((came, handed))
}
