//! How long the store takes, told to whoever asked to be told.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use muster_domain::lane::Lane;

/// Is told what the store does, from its own threads and from those that wait for it: every call
/// is short, and never waits.
pub trait Meter: Send + Sync {
    /// A transaction was answered, whatever came of it, so long after it was handed in.
    fn took(&self, transaction: Transaction, took: Duration);
    /// Writes were committed together.
    fn committed(&self, batch: Batch);
    /// The store could not take so many writes.
    fn failed(&self, writes: u64);
}

/// A kind of transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    /// A read of somebody who called.
    Read,
    /// One of the process itself.
    OwnRead,
    /// A write, in its lane.
    Write(Lane),
}

/// What was committed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Writes in it, those that were refused by themselves not left out.
    pub writes: u64,
    /// Entries that the audit got.
    pub audit_entries: u64,
    /// From its begin to its end.
    pub took: Duration,
}

/// Whoever is told, once there is one.
pub(crate) type Metered = Arc<OnceLock<Arc<dyn Meter>>>;

impl Transaction {
    /// In one word, for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::OwnRead => "read-own",
            Self::Write(Lane::Brake) => "write-brake",
            Self::Write(Lane::Control) => "write-control",
            Self::Write(Lane::Reports) => "write-reports",
            Self::Write(Lane::Artifacts) => "write-artifacts",
            Self::Write(Lane::Enrollment) => "write-enrollment",
        }
    }
}
