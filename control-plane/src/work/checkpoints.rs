//! Signs the audit.

use std::time::Duration;

use super::driver::Worker;
use crate::app::{App, Error};

/// Looks whether a checkpoint is due.
pub(super) struct Checkpoints;

impl Worker for Checkpoints {
    const NAME: &'static str = "checkpoints";
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.sign_audit(false).await
    }
}
