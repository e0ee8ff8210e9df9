//! Watches the ends of the signed repository's metadata.

use std::time::Duration;

use super::driver::Worker;
use crate::app::{App, Error};

/// Looks when it has to be signed again.
pub(super) struct Ends;

impl Worker for Ends {
    const NAME: &'static str = "repository-ends";
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(60)
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.watch_repository().await
    }
}
