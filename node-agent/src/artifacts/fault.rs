//! What is asked for files, and how it can fail.

use std::fmt;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use muster_common::reason::Reason;

use super::{ControlPlane, Mirror};

/// A place that has files by the paths of the repository.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Mirror(Mirror),
    ControlPlane(ControlPlane),
}

/// A file did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is none there, and that was said.
    Missing,
    /// It may not be had: of what need not be there, that is the same as none.
    Forbidden,
    /// The way there, or something on it that is none of the source's own words.
    Network(String),
    /// The source says no.
    Refused(Reason, String),
}

/// What comes of a file.
pub(super) type Pieces = BoxStream<'static, Result<Piece, Fault>>;

/// Some of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes before those that were asked for: a server that knows no ranges sends them, too.
    pub(super) skipped: u64,
    /// Those that were asked for.
    pub(super) bytes: Bytes,
}

impl Piece {
    /// How much has come, of use or not.
    pub(super) const fn came(&self) -> u64 {
        self.skipped.saturating_add(self.bytes.len() as u64)
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { skipped: 0, bytes }
    }
}

impl Source {
    /// The bytes of a file from `offset` on.
    pub(super) async fn open(&self, path: &str, offset: u64) -> Result<Pieces, Fault> {
        match self {
            Self::Mirror(mirror) => mirror.open(path, offset).await,
            Self::ControlPlane(plane) => plane.open(path, offset).await,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mirror(mirror) => write!(f, "the mirror {mirror}"),
            Self::ControlPlane(_) => f.write_str("the control plane"),
        }
    }
}
