//! Lets the issuers of programs' identities take their turns.

use std::time::Duration;

use super::driver::Worker;
use crate::app::{App, Error};

/// Looks whether one is due.
pub(super) struct Turns;

impl Worker for Turns {
    const NAME: &'static str = "workload-issuers";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, app: &App) -> Duration {
        (app.fixed.workload.publish_for / 4).clamp(Duration::from_millis(250), Duration::from_secs(60))
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.turn_workloads().await
    }
}
