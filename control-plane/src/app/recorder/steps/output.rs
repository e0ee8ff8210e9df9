//! Output that hosts report: kept up to a limit of its command and one of its
//! operation, cut at the end of a line.

use std::collections::HashMap;

use muster_common::{cut, ids::OperationId};
use muster_domain::command::{Command, Output};
use muster_store::{ReadOperations as _, WriteCommands as _, WriteOperations as _, WriteTx};

use crate::{app::Error, session::frames::Chunk};

/// How much more is kept, within one write.
pub(super) struct Rooms {
    /// Kept of one command.
    limit: u64,
    /// How much more of each operation.
    of: HashMap<OperationId, u64>,
}

impl Rooms {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, of: HashMap::new() }
    }

    /// Keeps what fits of a piece of a command's output, and counts the rest.
    pub(super) fn keep(
        &mut self,
        tx: &mut WriteTx<'_>,
        command: &mut Command,
        seq: u64,
        chunk: &Chunk,
    ) -> Result<(), Error> {
        let of_operation = match self.of.get(&command.operation) {
            Some(known) => *known,
            None => tx.operation_output_room(command.operation)?,
        };
        let of_command = self.limit.saturating_sub(command.output_bytes);
        let room = usize::try_from(of_command.min(of_operation)).unwrap_or(usize::MAX);
        let fits = if room == 0 { 0 } else { cut::kept(&chunk.data, room, 0, cut::LINE) };
        let fits = fits.min(chunk.data.len());
        let cut = chunk.data.len() - fits;
        let mut data = chunk.data[..fits].to_vec();
        if cut > 0 && command.dropped_bytes == 0 {
            let whose = if of_operation <= of_command { "operation" } else { "command" };
            let open = data.last().is_some_and(|byte| *byte != b'\n');
            data.extend(cut::marker(open, &format!("at the limit of its {whose}")));
        }
        // What was cut once gets no room again: nothing comes after a gap.
        let left = if cut > 0 && of_operation <= of_command { 0 } else { of_operation - fits as u64 };
        self.of.insert(command.operation, left);
        command.output_bytes = command.output_bytes.saturating_add(data.len() as u64);
        if chunk.stderr {
            command.stderr_bytes = command.stderr_bytes.saturating_add(data.len() as u64);
        }
        let dropped_bytes = chunk.dropped_bytes.saturating_add(cut as u64);
        command.dropped_bytes = command.dropped_bytes.saturating_add(dropped_bytes);
        let (command, stderr) = (command.id, chunk.stderr);
        // The store knows where the stream ends.
        tx.output_append(&Output { command, seq, stderr, offset: 0, data, dropped_bytes })?;
        Ok(())
    }

    /// Writes down how much more is kept.
    pub(super) fn write(self, tx: &mut WriteTx<'_>) -> Result<(), Error> {
        for (operation, room) in self.of {
            tx.operation_set_output_room(operation, room)?;
        }
        Ok(())
    }
}
