//! Why nothing is taken.

use std::{io, path::PathBuf};

use muster_common::{reason::Reason, tuf};

use crate::state::Cause;

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no pinned root that can be used.
    #[error("{} cannot be used as the root of trust: {why}", path.display())]
    NoRoot {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was believed cannot be read: so the floor is not known.
    #[error("{} cannot be read: {why}. Once it is away, the host begins anew with the pinned root", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The keys say no.
    #[error(transparent)]
    Refused(#[from] tuf::Error),
    /// There is no room.
    #[error("{size} bytes are wanted; the store may have {quota}")]
    Full {
        /// Of the file.
        size: u64,
        /// Of all.
        quota: u64,
    },
    /// The host's file system says no.
    #[error("the store of this host cannot be used")]
    Host(#[from] io::Error),
}

impl Error {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoRoot { .. } | Self::Damaged { .. } => Reason::NoTrustRoot,
            Self::Refused(error) => error.reason(),
            Self::Full { .. } => Reason::DiskFull,
            Self::Host(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
                _ => Reason::WriteFailed,
            },
        }
    }

    /// Whose fault it is. Only a file that is not signed at all, or signed with other bytes
    /// than the item names, is one of the item's content.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::NoRoot { .. } | Self::Damaged { .. } | Self::Full { .. } | Self::Host(_) => Cause::Host,
            Self::Refused(tuf::Error::Unknown(_) | tuf::Error::OtherFile(_) | tuf::Error::Name { .. }) => {
                Cause::Content
            }
            Self::Refused(
                tuf::Error::TooManyRoots { .. } | tuf::Error::NoTrustRoot(_) | tuf::Error::Damaged(_),
            ) => Cause::Host,
            Self::Refused(_) => Cause::ControlPlane,
        }
    }
}
