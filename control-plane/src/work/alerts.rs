//! Finds what people are to be told of, and tells them.

use std::time::Duration;

use super::driver::Worker;
use crate::app::{
    App, Error,
    alerts::{Looked, TELLS, Telling},
};

/// Looks what is so.
#[derive(Default)]
pub(super) struct Look(Looked);

/// Tells receivers.
#[derive(Default)]
pub(super) struct Tell(Telling);

impl Worker for Look {
    const NAME: &'static str = "alerts";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        self.0.rests()
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.look_for_alerts(&mut self.0).await
    }
    /// Since when something is so only the one knows that looks all the time.
    fn let_go(&mut self) {
        self.0 = Looked::default();
    }
}

impl Worker for Tell {
    const NAME: &'static str = TELLS;
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), Error> {
        app.tell_receivers(&mut self.0).await
    }
}
