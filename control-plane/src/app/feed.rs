//! Keeps memory true to the store by following its change feed, whoever wrote:
//! this process, another one, a person at the command line.

use muster_common::ids::NodeId;
use muster_store::{
    Change, ChangeKind, ReadAccess as _, ReadChanges as _, ReadCommands as _, ReadMeta as _, ReadNodes as _,
    ReadOperations as _,
};
use tokio::sync::watch;

use super::{App, Error, catalog};

/// Changes read in one go.
const BATCH: u32 = 1000;

/// How far memory follows the store.
#[derive(Debug, Clone)]
pub struct Feed {
    applied: std::sync::Arc<watch::Sender<u64>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { applied: std::sync::Arc::new(watch::Sender::new(0)) }
    }
}

impl Feed {
    /// Waits until memory knows this revision.
    pub async fn reached(&self, revision: u64) {
        // The sender lives in self: waiting cannot fail.
        let _ = self.applied.subscribe().wait_for(|applied| *applied >= revision).await;
    }

    /// The revision memory knows, and news of it.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn advance(&self, revision: u64) {
        self.applied.send_if_modified(|applied| {
            let newer = revision > *applied;
            *applied = revision.max(*applied);
            newer
        });
    }
}

impl App {
    /// Reads everything once, before anybody is served.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn load(&self) -> Result<(), Error> {
        let (revision, nodes, removed, commands, operations) = self
            .store
            .read(|tx| {
                let revision = tx.revision()?;
                let nodes = tx.node_all()?;
                let removed = tx.removed_node_all()?;
                Ok::<_, Error>((revision, nodes, removed, tx.command_open_all()?, tx.operation_open_all()?))
            })
            .await?;
        for node in nodes {
            self.fleet.put(node, |node| self.tracker_after_start(node));
        }
        for id in removed {
            self.fleet.remove(id);
        }
        self.adopt_operations(operations);
        for command in commands {
            self.fleet.with(command.node, |mut entry| entry.tickets.push((&command).into()));
        }
        self.reload_catalog().await?;
        self.reload_access().await?;
        self.reload_revocations().await?;
        self.feed.advance(revision);
        Ok(())
    }

    /// Takes in what was committed since last time.
    ///
    /// # Errors
    /// If the store fails; nothing is skipped, the next call tries again.
    pub async fn follow(&self) -> Result<(), Error> {
        loop {
            let from = *self.feed.applied.borrow();
            let (changes, revision) = self
                .store
                .read(move |tx| {
                    let revision = tx.revision()?;
                    Ok::<_, Error>((tx.changes_since(from, BATCH)?, revision))
                })
                .await?;
            self.take_in(&changes).await?;
            // A full batch may end in the middle of a revision: that one is read again.
            let full = changes.len() >= BATCH as usize;
            let last = changes.last().map_or(revision, |change| change.revision);
            self.feed.advance(if full { last.saturating_sub(1).max(from) } else { revision.max(last) });
            if !full {
                return Ok(());
            }
        }
    }

    async fn take_in(&self, changes: &[Change]) -> Result<(), Error> {
        let mut nodes: Vec<NodeId> = Vec::new();
        let (mut catalog, mut access, mut authority, mut revocations) = (false, false, false, false);
        for change in changes {
            match change.kind {
                ChangeKind::Node => nodes.extend(change.id.parse::<NodeId>().ok()),
                ChangeKind::Assignment | ChangeKind::Profile => catalog = true,
                ChangeKind::Caller => access = true,
                ChangeKind::Authority => authority = true,
                ChangeKind::Revocation => revocations = true,
                // What nodes report was in memory before it was stored; the rest is read when asked for.
                ChangeKind::NodeReport
                | ChangeKind::Bundle
                | ChangeKind::JoinToken
                | ChangeKind::Operation
                | ChangeKind::Command => {}
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        if catalog {
            self.reload_catalog().await?;
            self.hub.for_each(crate::session::hub::Handle::hint_desired);
        }
        if access {
            self.reload_access().await?;
        }
        if revocations {
            self.reload_revocations().await?;
        }
        if authority && let Err(error) = self.reload_authority().await {
            // Told where it happened; the rest of the feed must not wait for files.
            self.metrics.authority_behind();
            drop(error);
        }
        if !nodes.is_empty() {
            self.reload_nodes(nodes).await?;
        }
        Ok(())
    }

    async fn reload_catalog(&self) -> Result<(), Error> {
        let before = self.catalog.now();
        let contents = self.store.read(move |tx| catalog::Contents::read(tx, &before)).await?;
        self.catalog.replace(contents);
        Ok(())
    }

    async fn reload_access(&self) -> Result<(), Error> {
        let callers = self.store.read(|tx| tx.caller_all()).await?;
        self.access.replace(callers);
        Ok(())
    }

    async fn reload_nodes(&self, ids: Vec<NodeId>) -> Result<(), Error> {
        let found = self
            .store
            .read(move |tx| {
                ids.into_iter()
                    .map(|id| Ok((id, tx.node_get(id)?)))
                    .collect::<Result<Vec<_>, muster_store::Error>>()
            })
            .await?;
        for (id, node) in found {
            match node {
                Some(node) => {
                    self.fleet.put(node, |node| self.tracker_of_new(node));
                    let now = self.clock.monotonic();
                    self.fleet.with(id, |mut entry| self.observe_quarantine(&mut entry, now));
                    if let Some(session) = self.hub.get(id) {
                        session.hint_tune();
                        session.hint_trust();
                        session.hint_desired();
                    }
                }
                None => self.forget_node(id),
            }
        }
        Ok(())
    }
}

/// What the store says of an open order, as the fleet holds it.
impl From<&muster_domain::command::Command> for super::fleet::OpenTicket {
    fn from(command: &muster_domain::command::Command) -> Self {
        Self {
            command: command.id,
            operation: command.operation,
            state: command.state,
            cancel: command.cancel_requested,
            to_send: false,
        }
    }
}
