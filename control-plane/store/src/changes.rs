//! The change feed: which things were written at which revision. Whoever
//! follows it reads the things themselves from their nouns.

use crate::{
    engine::params,
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// What kind of thing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// A node, by others than itself: enrolled, edited, removed, given a certificate.
    Node,
    /// What a node reports: liveness, facts, items, first use of a certificate.
    NodeReport,
    /// Which replica holds a node's session, and what else of a node only replicas ask for.
    NodeSession,
    /// A join token.
    JoinToken,
    /// A host that waits to be let in.
    JoinRequest,
    /// A version of a bundle; its id is `NAME/VERSION`.
    Bundle,
    /// A settings profile.
    Profile,
    /// An assignment.
    Assignment,
    /// A group of nodes.
    Group,
    /// A concurrency lease.
    Lease,
    /// A rollout, or the brake of all of them.
    Rollout,
    /// An operation.
    Operation,
    /// A command; its output is not on the feed.
    Command,
    /// A caller.
    Caller,
    /// A binding of callers to roles.
    Binding,
    /// The certificate authority.
    Authority,
    /// Someone or something that is not let in any more, or is again.
    Revocation,
    /// An operation that starts by itself.
    Schedule,
    /// A version of an extension; its id is `NAME/VERSION`.
    Extension,
    /// A release of the agent, or what a channel recommends.
    Release,
    /// The signed repository.
    Artifacts,
    /// An alert, or `rule/NAME`, `receiver/NAME`, `silence/ID`, `dead-letter/ID`.
    Alert,
    /// Which part of the calls is traced.
    Traces,
    /// Something that only a newer release has, which serves the same store: nothing is known of it here.
    Unknown,
}

/// One row of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When, in the order of commits.
    pub revision: u64,
    /// What.
    pub kind: ChangeKind,
    /// Which.
    pub id: String,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Node,
        Self::NodeReport,
        Self::NodeSession,
        Self::JoinToken,
        Self::JoinRequest,
        Self::Bundle,
        Self::Profile,
        Self::Assignment,
        Self::Group,
        Self::Lease,
        Self::Rollout,
        Self::Operation,
        Self::Command,
        Self::Caller,
        Self::Binding,
        Self::Authority,
        Self::Revocation,
        Self::Schedule,
        Self::Extension,
        Self::Release,
        Self::Artifacts,
        Self::Alert,
        Self::Traces,
    ];

    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::NodeReport => "node-report",
            Self::NodeSession => "node-session",
            Self::JoinToken => "join-token",
            Self::JoinRequest => "join-request",
            Self::Bundle => "bundle",
            Self::Profile => "profile",
            Self::Assignment => "assignment",
            Self::Group => "group",
            Self::Lease => "lease",
            Self::Rollout => "rollout",
            Self::Operation => "operation",
            Self::Command => "command",
            Self::Caller => "caller",
            Self::Binding => "binding",
            Self::Authority => "authority",
            Self::Revocation => "revocation",
            Self::Schedule => "schedule",
            Self::Extension => "extension",
            Self::Release => "release",
            Self::Artifacts => "artifacts",
            Self::Alert => "alert",
            Self::Traces => "traces",
            Self::Unknown => "unknown",
        }
    }

    /// The kind written so.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).unwrap_or(Self::Unknown)
    }
}

/// Reads the feed.
pub trait ReadChanges: Reader {
    /// What was written after `revision`, in order, about `limit` rows: a
    /// revision is never cut in two, so the last one returned is whole and the
    /// next call can go on from it.
    ///
    /// # Errors
    /// If the store fails.
    fn changes_since(&mut self, revision: u64, limit: u32) -> Result<Vec<Change>, Error> {
        const FIRST: &str = "SELECT revision, kind, id FROM changes WHERE revision > $1 \
                             ORDER BY revision, kind, id LIMIT $2";
        const WHOLE: &str = "SELECT revision, kind, id FROM changes WHERE revision = $1 ORDER BY kind, id";
        let decode = |row: &mut crate::engine::Row| {
            Ok(Change {
                revision: row.u64("revision")?,
                kind: row.word("change kind", |text| Some(ChangeKind::parse(text)))?,
                id: row.text("changed id")?,
            })
        };
        let mut changes = self.rows(FIRST, params![revision, limit.max(1)], decode)?;
        if changes.len() >= limit as usize
            && let Some(last) = changes.last().map(|change| change.revision)
        {
            changes.retain(|change| change.revision < last);
            changes.extend(self.rows(WHOLE, params![last], decode)?);
        }
        Ok(changes)
    }

    /// The oldest revision from which the feed can be followed without a gap:
    /// who has seen less must read everything anew.
    ///
    /// # Errors
    /// If the store fails.
    fn changes_floor(&mut self) -> Result<u64, Error> {
        let floor = self.row("SELECT floor FROM feed", &[], |row| row.u64("feed floor"))?;
        Ok(floor.unwrap_or(0))
    }
}

/// Shortens the feed.
pub trait WriteChanges: ReadChanges + Writer {
    /// Takes away at most `step` revisions: the oldest, but none of the newest
    /// `keep`, and none after `upto`. Answers by how much the floor has risen.
    ///
    /// # Errors
    /// If the store fails.
    fn changes_prune(&mut self, keep: u64, upto: u64, step: u64) -> Result<u64, Error> {
        let newest = self.row("SELECT revision FROM feed", &[], |row| row.u64("revision"))?.unwrap_or(0);
        let before = self.changes_floor()?;
        let floor = newest.saturating_sub(keep).min(upto).min(before.saturating_add(step));
        if floor <= before {
            return Ok(0);
        }
        self.execute("UPDATE feed SET floor = $1", params![floor])?;
        self.execute("DELETE FROM changes WHERE revision <= $1", params![floor])?;
        Ok(floor - before)
    }
}

impl ReadChanges for ReadTx<'_> {}
impl ReadChanges for WriteTx<'_> {}
impl WriteChanges for WriteTx<'_> {}
