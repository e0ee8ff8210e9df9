//! Takes blobs away that nobody needs.

use std::time::Duration;

use super::driver::Worker;
use crate::app::{App, Error};

/// Looks what nobody needs.
pub(super) struct Collect;

impl Worker for Collect {
    const NAME: &'static str = "collect-blobs";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, app: &App) -> Duration {
        app.collect_blobs_every()
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.collect_blobs().await
    }
}
