//! Orders that ended in one write. Of an operation on few nodes each is told by itself; of one on many,
//! how many ended how.

use std::collections::{BTreeMap, btree_map::Entry};

use muster_common::ids::OperationId;
use muster_domain::{
    alert::Severity,
    command::{Command, State},
    event::{AT_ONCE, Happened, Kind},
    operation::Counts,
};
use muster_store::{ReadOperations as _, WriteTx};

use super::{Telling, tell_shared};
use crate::app::Error;

/// What ended.
#[derive(Debug, Default)]
pub(in crate::app) struct Ends(Vec<Command>);

impl Ends {
    /// A command was written that was in this state before.
    pub(in crate::app) fn saw(&mut self, before: State, after: &Command) {
        if !before.is_end() && after.state.is_end() {
            self.0.push(after.clone());
        }
    }

    /// Writes down what was seen.
    pub(in crate::app) fn tell(self, tx: &mut WriteTx<'_>) -> Result<(), Error> {
        let mut operations: BTreeMap<OperationId, (String, bool)> = BTreeMap::new();
        let mut told: Vec<Telling> = Vec::new();
        for command in &self.0 {
            let id = command.operation;
            let (kind, is_few) = match operations.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let known = tx.operation_get(id)?.map(|it| (it.kind, (it.total as usize) < AT_ONCE));
                    place.insert(known.unwrap_or_default())
                }
            };
            told.push(Telling { what: ended(command, kind), alone: *is_few });
        }
        tell_shared(tx, told.iter())
    }
}

fn ended(command: &Command, kind: &str) -> Happened {
    let (operation, state) = (command.operation, command.state);
    let why = command.reason.map(|reason| reason.to_string()).unwrap_or_default();
    let exit_code = command.exit_code.map(|code| code.to_string()).unwrap_or_default();
    let severity = match state {
        State::Failed | State::TimedOut | State::Interrupted => Severity::Warning,
        _ => Severity::Info,
    };
    Happened::new(Kind::CommandEnded, &format!("{kind} ended: {}", state.as_str()))
        .to(command.node)
        .about(format!("operation/{operation}"))
        .by(operation)
        .as_bad_as(severity)
        .for_reason(word(state))
        .with("command_id", command.id)
        .with("kind", kind)
        .with("exit_code", exit_code)
        .with("error", why)
}

/// The last command of an operation has ended.
pub(in crate::app) fn operation_over(id: OperationId, counts: &Counts) -> Happened {
    let (total, succeeded, failed) = (counts.total(), counts.get(State::Succeeded), counts.failures());
    let message = format!("an operation ended: {succeeded} of {total} commands succeeded, {failed} failed");
    let severity = if failed > 0 { Severity::Warning } else { Severity::Info };
    Happened::new(Kind::OperationEnded, &message)
        .about(format!("operation/{id}"))
        .by(id)
        .as_bad_as(severity)
        .with("commands", total)
        .with("succeeded", succeeded)
        .with("failed", failed)
}

/// How it ended, in one stable word.
const fn word(state: State) -> &'static str {
    match state {
        State::Queued => "Queued",
        State::Delivered => "Delivered",
        State::Running => "Running",
        State::Succeeded => "Succeeded",
        State::Failed => "Failed",
        State::TimedOut => "TimedOut",
        State::Cancelled => "Cancelled",
        State::Interrupted => "Interrupted",
        State::Expired => "Expired",
        State::Denied => "Denied",
    }
}
