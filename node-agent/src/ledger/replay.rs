//! What the lines of the journal make of the ledger in memory.

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
            Change::Kept { entry } => {
                self.open.insert(entry.ticket.id, *entry);
            }
            Change::Closed { id } => {
                if let Some(entry) = self.open.remove(&id) {
                    self.closed.insert(id, entry.ticket.deliver_by);
                }
            }
            Change::Accepted { ticket } => {
                self.open.insert(ticket.id, Entry::new(*ticket));
            }
            Change::Refused { ticket, report } => {
                self.open.insert(ticket.id, Entry::refused(*ticket, *report));
            }
            Change::Started { id, at } => self.change(id, |entry| entry.start(at)),
            Change::Spawned { id, process } => self.change(id, |entry| entry.process = Some(process)),
            Change::Noted { id, was } => self.change(id, |entry| entry.was = Some(was)),
            Change::Ended { id, report } => self.change(id, |entry| entry.finish(*report)),
        }
    }

    fn change(&mut self, id: CommandId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.open.get_mut(&id) {
            change(entry);
        }
    }
}
