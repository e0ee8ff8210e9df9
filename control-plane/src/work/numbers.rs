//! Takes the numbers that no deed brings.

use std::time::Duration;

use super::driver::Worker;
use crate::app::{App, Error};

/// Looks once in a second.
pub(super) struct Numbers;

impl Worker for Numbers {
    const NAME: &'static str = "numbers";
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.take_numbers();
        Ok(())
    }
}
