//! What changed since a revision, for those who watch. Waking is a hint; the
//! change feed is the truth.

use std::collections::{BTreeSet, HashMap};

use muster_common::{
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
};
use muster_domain::{
    command::{Command, Output},
    labels::Selector,
    operation::{Counts, Operation},
    page::ResumeToken,
};
use muster_store::{Change, ChangeKind, ReadChanges as _, ReadCommands as _};

use super::{App, Error, nodes::View};

/// Changes read in one go.
const BATCH: u32 = 500;
/// Pieces of output read in one go: a watcher holds no more of it.
const PIECES: u32 = 16;

/// News of nodes.
#[derive(Debug)]
pub enum NodeNews {
    /// New, changed, or now matching.
    Upserted(Box<View>),
    /// Deleted, or no longer matching.
    Removed(NodeId),
}

/// News of an operation.
#[derive(Debug)]
pub enum OperationNews {
    /// As it is now.
    Operation(Box<Operation>, Counts),
    /// One of its commands; its output is read apart.
    Command(Box<Command>),
}

/// How far a watcher of an operation is.
#[derive(Debug, Default)]
pub struct Place {
    /// Last revision seen.
    pub revision: u64,
    /// Last piece of output seen, per command.
    pub pieces: HashMap<CommandId, u64>,
}

impl App {
    /// The token for going on after a revision.
    #[must_use]
    pub fn resume_token(&self, revision: u64) -> String {
        ResumeToken { epoch: self.fixed.epoch, revision }.to_string()
    }

    /// The revision a token stands for.
    ///
    /// # Errors
    /// If it belongs to another history, or what it knows is not kept any more.
    pub async fn resume_from(&self, token: &str) -> Result<u64, Error> {
        let expired =
            |why: &str| Error::refused(Reason::ResumeTokenExpired, format!("{why}; watch from the start"));
        let token: ResumeToken = token.parse().map_err(|_| expired("the resume token is not one of ours"))?;
        let floor = self.store.read(|tx| tx.changes_floor().map_err(Error::from)).await?;
        if token.epoch != self.fixed.epoch {
            return Err(expired("the resume token is of another history"));
        }
        if token.revision < floor {
            return Err(expired("the resume token is older than what is kept"));
        }
        Ok(token.revision)
    }

    /// All nodes that match, and the revision from which to go on. Only their
    /// ids: a watcher that reads slowly must not hold a fleet of views.
    #[must_use]
    pub fn nodes_now(&self, selector: &Selector) -> (Vec<NodeId>, u64) {
        // First the revision: what changes while we read is told again.
        let revision = *self.feed.applied().borrow();
        (self.matching(selector), revision)
    }

    /// News of nodes since a revision, and the revision they reach.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn node_news(&self, selector: &Selector, from: u64) -> Result<(Vec<NodeNews>, u64), Error> {
        let (changes, reached) = self.changes(from).await?;
        let is_node = |change: &&Change| matches!(change.kind, ChangeKind::Node | ChangeKind::NodeReport);
        let ids: BTreeSet<NodeId> =
            changes.iter().filter(is_node).filter_map(|c| c.id.parse().ok()).collect();
        let news = ids.into_iter().map(|id| match self.node(id) {
            Ok(view) if selector.matches(&view.node.labels, &view.node.facts) => {
                NodeNews::Upserted(Box::new(view))
            }
            _ => NodeNews::Removed(id),
        });
        Ok((news.collect(), reached))
    }

    /// News of an operation; moves the place on. The flag: it has ended and all is told.
    ///
    /// # Errors
    /// If it does not exist, or the store fails.
    pub async fn operation_news(
        &self,
        id: OperationId,
        place: &mut Place,
    ) -> Result<(Vec<OperationNews>, bool), Error> {
        let start = place.revision == 0;
        let (changed, reached) =
            if start { (None, self.revision_now()) } else { self.changed(place.revision).await? };
        let (operation, counts) = self.operation(id).await?;
        let commands = self.commands_changed(id, changed).await?;
        let mut news: Vec<OperationNews> = Vec::new();
        if start || !commands.is_empty() {
            news.push(OperationNews::Operation(Box::new(operation.clone()), counts));
        }
        news.extend(commands.into_iter().map(|command| OperationNews::Command(Box::new(command))));
        place.revision = reached;
        let ended = operation.ended_at.is_some();
        if ended && !start && !news.is_empty() {
            news.push(OperationNews::Operation(Box::new(operation), counts));
        }
        Ok((news, ended))
    }

    fn revision_now(&self) -> u64 {
        (*self.feed.applied().borrow()).max(1)
    }

    async fn changed(&self, from: u64) -> Result<(Option<BTreeSet<CommandId>>, u64), Error> {
        let (changes, reached) = self.changes(from).await?;
        let commands = changes.iter().filter(|change| change.kind == ChangeKind::Command);
        Ok((Some(commands.filter_map(|change| change.id.parse().ok()).collect()), reached))
    }

    /// Commands of an operation: all, or those of some ids.
    async fn commands_changed(
        &self,
        id: OperationId,
        changed: Option<BTreeSet<CommandId>>,
    ) -> Result<Vec<Command>, Error> {
        self.store
            .read(move |tx| {
                let Some(changed) = changed else {
                    let all = muster_domain::page::Page { size: u32::MAX, after: None };
                    return Ok(tx.command_list(id, &all)?.rows);
                };
                let mut commands = Vec::new();
                for command in changed {
                    commands.extend(tx.command_get(command)?.filter(|command| command.operation == id));
                }
                Ok(commands)
            })
            .await
    }

    /// The next pieces of a command's output; moves the place on. None: that was all for now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn output_news(&self, command: CommandId, place: &mut Place) -> Result<Vec<Output>, Error> {
        let after = place.pieces.get(&command).copied().unwrap_or(0);
        let read = self.store.read(move |tx| tx.output_list(command, after, PIECES).map_err(Error::from));
        let pieces = read.await?;
        if let Some(last) = pieces.last() {
            place.pieces.insert(command, last.seq);
        }
        Ok(pieces)
    }

    async fn changes(&self, from: u64) -> Result<(Vec<Change>, u64), Error> {
        let applied = *self.feed.applied().borrow();
        let read =
            self.store.read(move |tx| Ok::<_, Error>((tx.changes_since(from, BATCH)?, tx.changes_floor()?)));
        let (changes, floor) = read.await?;
        if from < floor {
            // Someone who reads so slowly that what comes next is not kept any more.
            return Err(Error::refused(
                Reason::ResumeTokenExpired,
                "the watch fell behind; watch from the start",
            ));
        }
        // Only what memory knows already; and never half of a revision.
        let cut = changes.last().filter(|_| changes.len() == BATCH as usize).map(|last| last.revision - 1);
        let reached = cut.filter(|cut| *cut > from).unwrap_or(applied.max(from)).min(applied.max(from));
        Ok((changes.into_iter().filter(|change| change.revision <= reached).collect(), reached))
    }
}
