//! Why metadata or a file of the repository is not taken.

use super::Role;
use crate::{clock::UnixMillis, digest::Sha256, reason::Reason};

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no trust to begin with.
    #[error("the pinned root metadata cannot be used: {0}")]
    NoTrustRoot(String),
    /// What is kept of the repository cannot be read: the floor below which nothing is
    /// taken is not known.
    #[error("what is kept of the signed repository is damaged: {0}")]
    Damaged(String),
    /// It cannot be read, or contradicts itself.
    #[error("the {role} metadata cannot be read: {why}")]
    Broken {
        /// Of whom.
        role: Role,
        /// What is wrong.
        why: String,
    },
    /// Too few of the keys signed it.
    #[error("{valid} keys signed the {role} metadata; {threshold} must")]
    BelowThreshold {
        /// Of whom.
        role: Role,
        /// Signatures that count.
        valid: u64,
        /// So many must.
        threshold: u64,
    },
    /// A root that is not the next one.
    #[error("root metadata {offered} came where {expected} must")]
    RootSkipped {
        /// The one after what is trusted.
        expected: u64,
        /// What came.
        offered: u64,
    },
    /// Older than what was trusted before.
    #[error("the {role} metadata has version {offered}; {trusted} was trusted before")]
    Rollback {
        /// Of whom.
        role: Role,
        /// The version that was trusted.
        trusted: u64,
        /// What came.
        offered: u64,
    },
    /// Its time is over.
    #[error("the {role} metadata was for the time until {expired}, and it is {now}")]
    Expired {
        /// Of whom.
        role: Role,
        /// Since when.
        expired: UnixMillis,
        /// By the clock of who judges.
        now: UnixMillis,
    },
    /// It is not the one that the metadata before it names.
    #[error("the {role} metadata is not the one that belongs to the rest: {why}")]
    MixedUp {
        /// Of whom.
        role: Role,
        /// What differs.
        why: String,
    },
    /// There is more of it than there may be.
    #[error("there are more than {most} bytes of {what}")]
    Endless {
        /// Of what.
        what: String,
        /// What may be.
        most: u64,
    },
    /// More roots than are followed in one go.
    #[error("more than {most} roots follow on the pinned one: pin a newer one")]
    TooManyRoots {
        /// What may be.
        most: u32,
    },
    /// Metadata that must be there is not.
    #[error("the repository has no {path}")]
    Missing {
        /// Where it would be.
        path: String,
    },
    /// A name that no file of a repository has here.
    #[error("{name:?} is no name of a file: {why}")]
    Name {
        /// The first of it.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The repository signs no such file.
    #[error("the repository has no file {0}")]
    Unknown(String),
    /// The repository signs other bytes by this name.
    #[error("the repository signs other bytes as {0} than are wanted")]
    OtherFile(String),
    /// A file that is shorter or longer than it must be.
    #[error("{name} has {size} bytes; {must} are signed")]
    WrongLength {
        /// Which.
        name: String,
        /// What came.
        size: u64,
        /// What must.
        must: u64,
    },
    /// A file of other bytes.
    #[error("{name} has the digest {sha256}; {must} is signed")]
    WrongDigest {
        /// Which.
        name: String,
        /// What came.
        sha256: Sha256,
        /// What must.
        must: Sha256,
    },
}

impl Error {
    pub(super) fn broken(role: Role, why: impl Into<String>) -> Self {
        // Whoever wrote the metadata wrote the words in it.
        let why: String = why.into();
        Self::Broken { role, why: why.chars().filter(|c| !c.is_control()).take(200).collect() }
    }

    /// The stable reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoTrustRoot(_) | Self::Damaged(_) | Self::TooManyRoots { .. } => Reason::NoTrustRoot,
            Self::Rollback { .. } => Reason::ArtifactRolledBack,
            Self::Expired { .. } => Reason::ArtifactExpired,
            Self::Unknown(_) | Self::OtherFile(_) | Self::Name { .. } => Reason::ArtifactUnknown,
            Self::Missing { .. } => Reason::FetchFailed,
            Self::Broken { .. }
            | Self::BelowThreshold { .. }
            | Self::RootSkipped { .. }
            | Self::MixedUp { .. }
            | Self::Endless { .. }
            | Self::WrongLength { .. }
            | Self::WrongDigest { .. } => Reason::ArtifactUntrusted,
        }
    }
}
