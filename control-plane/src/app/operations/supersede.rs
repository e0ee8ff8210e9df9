//! A newer operation in the place of older ones.

use std::collections::HashSet;

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    audit::Note,
    command::{self, Command, Event, State},
    operation::{Operation, Supersede},
};
use muster_store::{ReadCommands, ReadOperations, WriteCommands as _, WriteTx};
use serde_json::json;

use crate::app::{
    Error,
    events::Ends,
    recorder::{Ended, end_operations},
};

/// Ends what older operations with the same key have still queued for the nodes of these
/// commands, and asks what runs there to stop, if that is wanted. Answers what ended by it.
pub(super) fn end_older(
    tx: &mut WriteTx<'_>,
    operation: &Operation,
    commands: &[Command],
) -> Result<Ended, Error> {
    let mut ended = Ended::default();
    let Some(wanted) = &operation.plan.supersede else { return Ok(ended) };
    let nodes: HashSet<NodeId> = commands.iter().map(|command| command.node).collect();
    let withdrawn = Event::Withdrawn(Reason::Superseded, format!("operation {} supersedes it", operation.id));
    let older = tx.operation_open_with_key(&wanted.key)?;
    for id in older.into_iter().filter(|id| *id != operation.id) {
        let (mut moved, mut ends) = (Vec::new(), Ends::default());
        for before in tx.command_of_operation_open(id)?.into_iter().filter(|it| nodes.contains(&it.node)) {
            let event = match before.state {
                State::Queued => &withdrawn,
                _ if wanted.stop_running => &Event::CancelRequested,
                _ => continue,
            };
            if let Ok(after) = command::apply(&before, event, operation.created_at)
                && after != before
            {
                tx.command_put(&after)?;
                ends.saw(before.state, &after);
                moved.push(after);
            }
        }
        if !moved.is_empty() {
            tx.audit(Note {
                subject: format!("operation/{id}"),
                after: json!({ "superseded_by": operation.id, "commands": moved.len() }).to_string(),
                ..Note::default()
            })?;
            ends.tell(tx)?;
            ended.add(end_operations(tx, vec![id], operation.created_at)?.and(moved));
        }
    }
    Ok(ended)
}

/// How many queued commands would end.
pub(super) fn count_older(
    tx: &mut (impl ReadOperations + ReadCommands),
    wanted: Option<&Supersede>,
    nodes: &HashSet<NodeId>,
) -> Result<u32, Error> {
    let Some(wanted) = wanted else { return Ok(0) };
    let mut count = 0;
    for id in tx.operation_open_with_key(&wanted.key)? {
        let places = tx.command_places(id)?.into_iter();
        let ending = places.filter(|(node, state)| *state == State::Queued && nodes.contains(node));
        count += u32::try_from(ending.count()).unwrap_or(u32::MAX);
    }
    Ok(count)
}
