//! What commands ask of other rooms.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use muster_common::{clock::UnixMillis, digest::Sha256, ids::CommandId, reason::Reason};

/// Done by whoever joins the rooms. Each may be dropped at any time.
pub trait Errands: std::fmt::Debug + Send + Sync {
    /// What there is to say about this agent and its host: a file's name and its text.
    fn describe(&self) -> Vec<(&'static str, String)>;

    /// Brings a file to the control plane.
    fn bring(&self, file: File) -> BoxFuture<'_, Result<(), NotBrought>>;

    /// Gets a new key and certificate; ends when a session is open with it.
    fn rotate(&self) -> BoxFuture<'_, Rotated>;

    /// Takes this host out of its fleet.
    fn leave(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// The file of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// That brings it.
    pub command: CommandId,
    /// Where it lies.
    pub path: PathBuf,
    /// Of its bytes.
    pub sha256: Sha256,
    /// How many.
    pub size_bytes: u64,
}

/// A file did not come to the control plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", reason.map(|reason| format!("{reason}: ")).unwrap_or_default())]
pub struct NotBrought {
    /// What the control plane said no with; none: it was not reached, or the stream broke.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
}

impl NotBrought {
    /// Whether it may go better later.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self.reason, None | Some(Reason::Overloaded | Reason::RateLimited | Reason::ShuttingDown))
    }
}

/// The certificate that is in use now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// In hex.
    pub serial: String,
    /// End of its life.
    pub not_after: UnixMillis,
    /// Its number.
    pub generation: u64,
}
