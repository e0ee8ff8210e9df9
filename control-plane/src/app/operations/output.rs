//! The output of one command, page by page.

use muster_common::ids::CommandId;
use muster_domain::access::Scope;
use muster_store::{OutputPlace, ReadCommands};

use super::reading::Sight;
use crate::app::{App, Error};

/// Where to read.
#[derive(Debug, Clone, Copy)]
pub struct From {
    /// Whose output.
    pub command: CommandId,
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// Place in the stream.
    pub offset: u64,
    /// No more than this.
    pub bytes: usize,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The bytes.
    pub data: Vec<u8>,
    /// Their place in the stream.
    pub offset: u64,
    /// Where to go on.
    pub next: u64,
    /// Nothing comes after them.
    pub ended: bool,
}

impl App {
    /// A page of what is kept of a command's output.
    ///
    /// # Errors
    /// If the command does not exist.
    pub async fn read_output(&self, scope: &Scope, from: From) -> Result<Part, Error> {
        let sight = self.sight(scope);
        self.store.read(move |tx| sight.output(tx, from)).await
    }
}

impl Sight {
    fn output(&self, tx: &mut impl ReadCommands, from: From) -> Result<Part, Error> {
        let command = tx.command_get(from.command)?.filter(|command| self.sees(command.node));
        let command = command.ok_or_else(|| Error::not_found("command", &from.command))?;
        let places = tx.output_places(from.command, from.stderr)?;
        let end = |place: &OutputPlace| place.offset.saturating_add(place.bytes);
        let mut wanted = places.iter().filter(|place| end(place) > from.offset).peekable();
        let offset = wanted.peek().map_or(from.offset, |place| place.offset.max(from.offset));
        let mut data = Vec::new();
        while data.len() < from.bytes
            && let Some(place) = wanted.next_if(|place| place.offset <= offset + data.len() as u64)
        {
            let Some(piece) = tx.output_get(from.command, place.seq)? else { break };
            let skip = usize::try_from(offset.saturating_sub(place.offset)).unwrap_or(usize::MAX);
            let rest = piece.data.get(skip.min(piece.data.len())..).unwrap_or_default();
            data.extend_from_slice(&rest[..rest.len().min(from.bytes - data.len())]);
        }
        let next = offset.saturating_add(data.len() as u64);
        let ended = command.state.is_end() && places.iter().all(|place| end(place) <= next);
        Ok(Part { data, offset, next, ended })
    }
}
