//! Starts the operations of schedules.

use std::time::Duration;

use super::driver::Worker;
use crate::app::{App, Error, schedules::Planned};

/// Looks what is due.
#[derive(Default)]
pub(super) struct Schedules(Planned);

impl Worker for Schedules {
    const NAME: &'static str = "schedules";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.run_schedules(&mut self.0).await
    }
}
