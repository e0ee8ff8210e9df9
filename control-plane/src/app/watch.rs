//! What changed since a revision, for those who watch. Waking is a hint; the
//! change feed is the truth.

mod nodes;

use std::collections::{BTreeSet, HashMap};

pub use nodes::{NodeNews, NodeWatch};

use muster_common::{
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
};
use muster_domain::{
    access::Scope,
    command::{Command, Output},
    operation::{Counts, Operation},
    page::{Page, ResumeToken},
};
use muster_store::{Change, ChangeKind, ReadChanges, ReadCommands as _, ReadMeta as _};

use super::{App, Error, feed::reach, operations::Sight};

/// Changes read in one go.
const BATCH: u32 = 500;
/// Pieces of output read in one go: a watcher holds no more of it.
const PIECES: u32 = 16;

/// News of an operation.
#[derive(Debug)]
pub enum OperationNews {
    /// As it is now.
    Operation(Box<Operation>, Counts),
    /// One of its commands; its output is read apart.
    Command(Box<Command>),
}

/// How much of an operation is told with some news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// There is more already.
    Part,
    /// All there is now.
    All,
    /// All there will be: it has ended.
    ToTheEnd,
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
        ResumeToken { epoch: self.fixed.history.epoch, revision }.to_string()
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
        if token.epoch != self.fixed.history.epoch {
            return Err(expired("the resume token is of another history"));
        }
        if token.revision < floor {
            return Err(expired("the resume token is older than what is kept"));
        }
        Ok(token.revision)
    }

    /// News of an operation, as far as the scope goes; moves the place on.
    ///
    /// # Errors
    /// If it does not exist, the caller may not look any more, or the store fails.
    pub async fn operation_news(
        &self,
        scope: &Scope,
        id: OperationId,
        place: &mut Place,
    ) -> Result<(Vec<OperationNews>, Told), Error> {
        let scope = self.access.scope_now(scope, false).ok_or_else(not_any_more)?;
        let seen = read_of(&self.store, self.sight(&scope), id, place.revision).await?;
        let start = place.revision == 0;
        let mut news: Vec<OperationNews> = Vec::new();
        if start || seen.is_news {
            news.push(OperationNews::Operation(Box::new(seen.operation.clone()), seen.counts));
        }
        news.extend(seen.commands.into_iter().map(|command| OperationNews::Command(Box::new(command))));
        place.revision = seen.reached;
        if seen.is_behind {
            return Ok((news, Told::Part));
        }
        let ended = seen.operation.ended_at.is_some();
        if ended && !start && !news.is_empty() {
            news.push(OperationNews::Operation(Box::new(seen.operation), seen.counts));
        }
        Ok((news, if ended { Told::ToTheEnd } else { Told::All }))
    }

    /// Whether a watcher may still be told of a node: of one message after another,
    /// which a slow reader takes long after they were read.
    #[must_use]
    pub fn may_still_see(&self, scope: &Scope, node: NodeId) -> bool {
        let now = self.access.scope_now(scope, false);
        now.is_some_and(|scope| scope.is_whole() || self.sees(&scope, node))
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

    pub(super) async fn changes(&self, from: u64) -> Result<(Vec<Change>, u64), Error> {
        let applied = *self.feed.applied().borrow();
        let read = self.store.read(move |tx| {
            kept(tx, from)?;
            tx.changes_since(from, BATCH).map_err(Error::from)
        });
        let changes = read.await?;
        // Only what memory knows already: that is where these changes are looked up.
        let reached = reach(&changes, BATCH, applied).min(applied).max(from);
        Ok((changes.into_iter().filter(|change| change.revision <= reached).collect(), reached))
    }
}

/// An operation and what of it changed, all of one moment: an end that is seen
/// together with older commands would hide their last steps.
struct Seen {
    operation: Operation,
    counts: Counts,
    commands: Vec<Command>,
    /// It, or one of its commands, changed.
    is_news: bool,
    reached: u64,
    /// There is more to read already.
    is_behind: bool,
}

/// The bindings of a caller changed while it watched.
pub(in crate::app) fn not_any_more() -> Error {
    Error::refused(Reason::PermissionDenied, "no binding of yours allows this any more")
}

/// `from` 0: all of it.
async fn read_of(
    store: &muster_store::Store,
    sight: Sight,
    id: OperationId,
    from: u64,
) -> Result<Seen, Error> {
    store
        .read(move |tx| {
            let newest = tx.revision()?.max(1);
            let (operation, counts) = sight.operation(tx, id)?;
            if from == 0 {
                let mut commands = tx.command_list(id, &Page { size: u32::MAX, after: None })?.rows;
                commands.retain(|command| sight.sees(command.node));
                let (is_news, is_behind) = (true, false);
                return Ok(Seen { operation, counts, commands, is_news, reached: newest, is_behind });
            }
            kept(tx, from)?;
            let changes = tx.changes_since(from, BATCH)?;
            let (mut commands, mut is_news) = (Vec::new(), false);
            for command in ids_of::<CommandId>(&changes, ChangeKind::Command) {
                let is_shown = |command: &Command| command.operation == id && sight.sees(command.node);
                commands.extend(tx.command_get(command)?.filter(is_shown));
            }
            is_news |= !commands.is_empty();
            is_news |= ids_of::<OperationId>(&changes, ChangeKind::Operation).contains(&id);
            let reached = reach(&changes, BATCH, newest).max(from);
            Ok(Seen { operation, counts, commands, is_news, reached, is_behind: reached < newest })
        })
        .await
}

/// Whether what came after a revision is still there: a watcher may read so slowly
/// that it is not.
fn kept(tx: &mut impl ReadChanges, from: u64) -> Result<(), Error> {
    if from >= tx.changes_floor()? {
        return Ok(());
    }
    Err(Error::refused(Reason::ResumeTokenExpired, "the watch fell behind; watch from the start"))
}

pub(super) fn ids_of<T: std::str::FromStr + Ord>(changes: &[Change], kind: ChangeKind) -> BTreeSet<T> {
    changes.iter().filter(|change| change.kind == kind).filter_map(|change| change.id.parse().ok()).collect()
}
