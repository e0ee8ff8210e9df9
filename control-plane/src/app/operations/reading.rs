//! Operations as a caller may see them: those that have a command on a node of its
//! scope or are its own, with the commands on nodes of its scope, and counts of those.

use muster_common::ids::{NodeId, OperationId};
use muster_domain::{
    access::Scope,
    command::{Command, Output},
    operation::{Counts, Operation},
    page::{Listed, Page},
};
use muster_store::{ReadCommands, ReadNodes, ReadOperations};

use crate::app::{App, Error, written::Written};

/// Of a page of operations, or of commands with output: half of what a client takes in one message, if nobody tells it otherwise.
const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Of a command without output, message and result.
const COMMAND_BYTES: usize = 512;
/// Of an operation without arguments and selector.
const OPERATION_BYTES: usize = 1024;
/// Operations read in one go.
const OPERATIONS: u32 = 16;
/// Operations looked at for one page, of whatever scope: then the page ends.
const LOOKED_AT: usize = 1000;

/// What a scope shows of operations.
#[derive(Clone)]
pub(in crate::app) struct Sight {
    app: App,
    scope: Scope,
    written: Written,
}

impl App {
    pub(in crate::app) fn sight(&self, scope: &Scope) -> Sight {
        Sight { app: self.clone(), scope: scope.clone(), written: Written::default() }
    }

    /// One operation with its counts.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn operation(&self, scope: &Scope, id: OperationId) -> Result<(Operation, Counts), Error> {
        let sight = self.sight(scope);
        self.store.read(move |tx| sight.operation(tx, id)).await
    }

    /// A page of operations, newest first; it ends early where one message
    /// would become too large for its reader, or after many that are not for it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn operations(&self, scope: &Scope, page: Page) -> Result<Listed<(Operation, Counts)>, Error> {
        let sight = self.sight(scope);
        self.store.read(move |tx| sight.operations(tx, page)).await
    }

    /// A page of an operation's commands, with their output if asked; it ends
    /// early where one message would become too large for its reader.
    ///
    /// # Errors
    /// If the operation does not exist.
    pub async fn commands(
        &self,
        scope: &Scope,
        id: OperationId,
        page: Page,
        with_output: bool,
    ) -> Result<Listed<(Command, Vec<Output>)>, Error> {
        let sight = self.sight(scope);
        self.store.read(move |tx| sight.commands(tx, id, page, with_output)).await
    }
}

impl Sight {
    /// Whether commands of a node are shown. Those of a node that is no more have
    /// no labels to go by: only who sees every node sees them.
    pub(in crate::app) fn sees(&self, node: NodeId) -> bool {
        match self.written.get(node) {
            _ if self.scope.is_whole() => true,
            Some(written) => written.as_ref().is_some_and(|node| self.scope.sees(node)),
            None => self.app.sees(&self.scope, node),
        }
    }

    /// Whether a node is still one.
    pub(in crate::app) fn is_there(&self, node: NodeId) -> bool {
        match self.written.get(node) {
            Some(written) => written.is_some(),
            None => self.app.fleet.get(node).is_some(),
        }
    }

    /// The same, with nodes as they are in the store where memory is behind.
    pub(in crate::app) fn with(self, written: Written) -> Self {
        Self { written, ..self }
    }

    /// One operation with what is shown of its counts.
    pub(in crate::app) fn operation(
        &self,
        tx: &mut (impl ReadOperations + ReadCommands),
        id: OperationId,
    ) -> Result<(Operation, Counts), Error> {
        let operation = tx.operation_get(id)?.ok_or_else(|| Error::not_found("operation", &id))?;
        let counts = self.counts(tx, &operation)?.ok_or_else(|| Error::not_found("operation", &id))?;
        Ok((operation, counts))
    }

    /// Whether all commands of an operation are shown, but for those that ended with their nodes.
    pub(in crate::app) fn is_all_of(
        &self,
        tx: &mut (impl ReadCommands + ReadNodes),
        operation: &Operation,
    ) -> Result<bool, Error> {
        if self.scope.is_whole() {
            return Ok(true);
        }
        for (node, state) in tx.command_places(operation.id)? {
            let is_shown = self.sees(node) || state.is_end() && tx.removed_node_contains(node)?;
            if !is_shown {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// None: the operation is not shown.
    fn counts(
        &self,
        tx: &mut (impl ReadOperations + ReadCommands),
        operation: &Operation,
    ) -> Result<Option<Counts>, Error> {
        if self.scope.is_whole() {
            return Ok(Some(tx.operation_counts(operation.id)?));
        }
        let mut counts = Counts::default();
        for (node, state) in tx.command_places(operation.id)? {
            if self.sees(node) {
                counts.add(state, 1);
            }
        }
        let is_shown = counts.total() > 0 || operation.created_by == self.scope.principal;
        Ok(is_shown.then_some(counts))
    }

    fn operations(
        &self,
        tx: &mut (impl ReadOperations + ReadCommands),
        page: Page,
    ) -> Result<Listed<(Operation, Counts)>, Error> {
        let (mut rows, mut bytes, mut after) = (Vec::new(), 0, page.after);
        let (mut looked_at, mut reached) = (0, None);
        loop {
            // A few at a time: each may carry a script.
            let size = OPERATIONS.min(page.size - u32::try_from(rows.len()).unwrap_or(page.size));
            let listed = tx.operation_list(&Page { size, after })?;
            for operation in listed.rows {
                let (id, counts) = (operation.id.to_string(), self.counts(tx, &operation)?);
                looked_at += 1;
                if let Some(counts) = counts {
                    bytes += OPERATION_BYTES + operation.args.len() + operation.selector.len();
                    if bytes > PAGE_BYTES && !rows.is_empty() {
                        return Ok(Listed { rows, next: reached });
                    }
                    rows.push((operation, counts));
                }
                reached = Some(id);
            }
            if listed.next.is_none() || rows.len() >= page.size as usize || looked_at >= LOOKED_AT {
                return Ok(Listed { rows, next: listed.next });
            }
            after = listed.next;
        }
    }

    fn commands(
        &self,
        tx: &mut (impl ReadOperations + ReadCommands),
        id: OperationId,
        page: Page,
        with_output: bool,
    ) -> Result<Listed<(Command, Vec<Output>)>, Error> {
        self.operation(tx, id)?;
        let (mut rows, mut bytes, mut after, mut reached) = (Vec::new(), 0, page.after, None);
        loop {
            let size = page.size - u32::try_from(rows.len()).unwrap_or(page.size);
            let listed = tx.command_list(id, &Page { size, after })?;
            for command in listed.rows {
                let key = command.id.to_string();
                if self.sees(command.node) {
                    // Output is kept up to a limit per command, which fits into a message.
                    let output =
                        if with_output { tx.output_list(command.id, 0, u32::MAX)? } else { Vec::new() };
                    let size: usize = output.iter().map(|piece| piece.data.len()).sum();
                    bytes += COMMAND_BYTES + command.message.len() + command.result.len() + size;
                    if bytes > PAGE_BYTES && !rows.is_empty() {
                        return Ok(Listed { rows, next: reached });
                    }
                    rows.push((command, output));
                }
                reached = Some(key);
            }
            if listed.next.is_none() || rows.len() >= page.size as usize {
                return Ok(Listed { rows, next: listed.next });
            }
            after = listed.next;
        }
    }
}
