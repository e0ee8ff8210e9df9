//! The signed repository: what is published is checked as an agent would, and passed on as it is.
//!
//! Promises: nothing becomes the newest state that the pinned root does not vouch for, or
//! that goes back behind what was; a state is whole or not there; the bytes of what it names stay.
//! Never: a signature of ours. Who has this control plane can keep a state from hosts, not make one.

mod check;
mod expiry;
mod give;
mod needed;
mod packages;
mod publish;

use muster_common::digest::Sha256;
use muster_domain::{
    artifact::{Repository, Target},
    page::{Listed, Page},
};
use muster_store::ReadArtifacts as _;

pub use expiry::Warned;
pub use give::{Given, Source};
pub(super) use packages::platforms;
pub use packages::{Package, PackageVersion};
pub use publish::Files;

use super::{App, Error};

/// The bytes of a release that consists of these files.
pub type ReleaseOf = fn(&str, &[Target]) -> Vec<u8>;

/// Names and digests of the files in the bytes of a release.
pub type FilesOfRelease = fn(&[u8]) -> Vec<(String, Sha256)>;

impl App {
    /// The newest state.
    ///
    /// # Errors
    /// If nothing was ever published.
    pub async fn repository(&self) -> Result<Repository, Error> {
        let found = self.store.read(|tx| tx.repository_get().map_err(Error::from)).await?;
        found.map(|(repository, _)| repository).ok_or_else(|| Error::not_found("repository", "published"))
    }

    /// A page of the files that it names.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn targets(&self, page: Page) -> Result<Listed<Target>, Error> {
        self.store.read(move |tx| tx.target_list(&page).map_err(Error::from)).await
    }
}
