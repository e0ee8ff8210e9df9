//! Follows the files of an authority that is not ours, and leaves the keys of one that is for the other replicas.

use std::time::Duration;

use muster_common::digest::Sha256;

use super::driver::Worker;
use crate::app::{App, Error};

/// Looks whether the files have changed.
#[derive(Default)]
pub(super) struct Files {
    /// What could not be taken: told once, and not tried again until it changes.
    refused: Option<Sha256>,
}

impl Worker for Files {
    const NAME: &'static str = "authority-files";
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, app: &App) -> Duration {
        app.fixed.authority.every
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.take_authority_files(&mut self.refused).await
    }
}

/// Looks whether all keys are where the other replicas find them.
pub(super) struct Keys;

impl Worker for Keys {
    const NAME: &'static str = "authority-keys";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(60)
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.leave_authority_keys().await
    }
}
