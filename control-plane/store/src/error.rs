//! How the store can fail.

use std::sync::Arc;

use crate::options::Place;

/// What an engine said, kept as the cause.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the store did not do what it was asked. A write that got one of these
/// has left nothing behind; of [`Error::OutcomeUnknown`] alone nobody can say so.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// As many requests wait as may wait; to be tried again, later.
    #[error("the store's queue is full")]
    Busy,
    /// The store was closed, or its thread has ended.
    #[error("the store is closed")]
    Closed,
    /// Another process held the database, or what is needed of it, for longer than `busy_timeout`.
    #[error("another process keeps the database locked")]
    Locked(#[source] Cause),
    /// No room on the disk. Later writes succeed once there is some.
    #[error("the disk of the database is full")]
    DiskFull(#[source] Cause),
    /// The disk failed.
    #[error("reading or writing the database failed")]
    Io(#[source] Cause),
    /// The file is damaged, or is none of ours.
    #[error("the database is damaged")]
    Corrupt(#[source] Cause),
    /// The server of the database does not answer, or takes no writes now.
    #[error("the database cannot be reached")]
    Unreachable(#[source] Cause),
    /// The server was lost while it committed, and did not come back in time to say
    /// what became of it: the write is there whole, or not at all.
    #[error("the database was lost during the commit: the write may be there or not")]
    OutcomeUnknown(#[source] Cause),
    /// A row that must be unique is there already, or one that another refers to is missing.
    #[error("the write contradicts what is stored")]
    Constraint(#[source] Cause),
    /// Anything else an engine can say.
    #[error("the database refused: {doing}")]
    Engine {
        /// What was being done.
        doing: String,
        /// What it said.
        #[source]
        source: Cause,
    },
    /// The closure of a read or write panicked; it was rolled back.
    #[error("the work inside the transaction panicked: {0}")]
    Panicked(String),
    /// The closure of a write changed something that nobody may change without
    /// leaving a trace, and left none.
    #[error("{0} was changed without an entry in the audit; the write was rolled back")]
    Unaudited(&'static str),
    /// The closure of a write went on after one of its statements had failed.
    #[error("a statement of the write had failed; the write was rolled back")]
    Incomplete,
    /// A stored value cannot be read back.
    #[error("stored {what} {value:?} is not one this release can read")]
    Row {
        /// Which column.
        what: &'static str,
        /// Its value, shortened.
        value: String,
    },
    /// Made by a newer release.
    #[error(
        "the database has schema {found}; this release knows schemas up to {known}. Use the newer release"
    )]
    NewerSchema {
        /// Of the database.
        found: u64,
        /// Newest of this release.
        known: u64,
    },
    /// Nothing to open.
    #[error("there is no database at {0}; make one with `muster-control-plane init`")]
    Missing(Place),
    /// Nothing to create: there is one.
    #[error("there is a database at {0} already")]
    Exists(Place),
    /// It is a database, and not a whole one of ours.
    #[error("{0} is not a Muster database, or its creation was interrupted")]
    Foreign(Place),
    /// A copy that did not come about; why, as a sentence. Nothing is left of it.
    #[error("the copy was given up: {0}")]
    NotCopied(String),
    /// It cannot be opened or made.
    #[error("cannot open the database {place}")]
    Open {
        /// Which.
        place: Place,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A page's key is not one that a list of this noun gives out.
    #[error("{0:?} is not a key of this list")]
    PageKey(String),
}

impl Error {
    /// Whether the request itself is at fault: another one, or a part of this
    /// one, may succeed at the same moment.
    #[must_use]
    pub const fn is_of_the_request(&self) -> bool {
        match self {
            Self::Constraint(_)
            | Self::Engine { .. }
            | Self::Panicked(_)
            | Self::Unaudited(_)
            | Self::Incomplete
            | Self::Row { .. }
            | Self::PageKey(_) => true,
            Self::Busy
            | Self::Closed
            | Self::Locked(_)
            | Self::DiskFull(_)
            | Self::Io(_)
            | Self::Corrupt(_)
            | Self::Unreachable(_)
            | Self::OutcomeUnknown(_)
            | Self::NewerSchema { .. }
            | Self::Missing(_)
            | Self::Exists(_)
            | Self::Foreign(_)
            | Self::NotCopied(_)
            | Self::Open { .. } => false,
        }
    }

    pub(crate) fn engine(doing: &str, source: Cause) -> Self {
        Self::Engine { doing: doing.split_whitespace().take(12).collect::<Vec<_>>().join(" "), source }
    }

    pub(crate) fn row(what: &'static str, value: impl std::fmt::Display) -> Self {
        Self::Row { what, value: value.to_string().chars().take(80).collect() }
    }
}
