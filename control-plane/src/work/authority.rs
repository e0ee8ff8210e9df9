//! Follows the files of an authority that is not ours.

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
