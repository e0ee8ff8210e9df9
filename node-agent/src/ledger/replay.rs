//! What the lines of the journal make of the ledger in memory.

use std::collections::BTreeMap;

use muster_common::ids::CommandId;

use super::{
    Ledger,
    entry::{Change, Entry, Line},
};

impl Ledger {
    /// What a line changes: one that was just written, or one of an earlier process.
    pub(super) fn replay(&mut self, line: Line) {
        self.seq = self.seq.max(line.seq);
        match line.change {
            Change::Begun { ledger, watermark, closed, shown } => {
                self.id = ledger;
                self.watermark = watermark;
                self.shown = shown;
                self.closed.extend(closed);
            }
            Change::Opened => {
                let found = line.seq.saturating_sub(1);
                self.shown = Some(self.shown.map_or(found, |shown| shown.min(found)));
            }
            Change::Heard => self.shown = None,
            of_command => {
                if let Some(closed) = apply(&mut self.open, of_command) {
                    self.closed.insert(closed.ticket.id, closed.ticket.deliver_by);
                }
            }
        }
    }
}

/// What a line changes among the commands that are open; answers the one that it closes.
pub(super) fn apply(open: &mut BTreeMap<CommandId, Entry>, change: Change) -> Option<Entry> {
    match change {
        Change::Begun { .. } | Change::Opened | Change::Heard => {}
        Change::Kept { entry } => drop(open.insert(entry.ticket.id, *entry)),
        Change::Closed { id } => return open.remove(&id),
        Change::Accepted { ticket } => drop(open.insert(ticket.id, Entry::new(*ticket))),
        Change::Refused { ticket, report } => {
            open.insert(ticket.id, Entry::refused(*ticket, *report));
        }
        Change::Started { id, at } => change_one(open, id, |entry| entry.start(at)),
        Change::Spawned { id, process } => change_one(open, id, |entry| entry.process = Some(process)),
        Change::Noted { id, was } => change_one(open, id, |entry| entry.was = Some(was)),
        Change::Ended { id, report } => change_one(open, id, |entry| entry.finish(*report)),
    }
    None
}

fn change_one(open: &mut BTreeMap<CommandId, Entry>, id: CommandId, change: impl FnOnce(&mut Entry)) {
    if let Some(entry) = open.get_mut(&id) {
        change(entry);
    }
}
