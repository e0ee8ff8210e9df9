//! Background work. It takes no input: woken by a hint and a timer, it looks at
//! the whole truth, and is safe to run twice.

mod alerts;
mod artifacts;
mod authority;
mod blobs;
mod checkpoints;
pub mod driver;
mod numbers;
mod schedules;
mod workloads;

use std::time::Duration;

use muster_common::{
    clock::Instant,
    drain::Drain,
    tasks::{self, Tasks},
};
use tokio::sync::watch;

use crate::app::App;
use driver::{Worker, drive};

/// Starts every worker.
pub fn start(app: &App, tasks: &Tasks, drain: &Drain) {
    drive(app, tasks, drain, Beat);
    drive(app, tasks, drain, Follow);
    drive(app, tasks, drain, Record);
    drive(app, tasks, drain, HandOut);
    drive(app, tasks, drain, Sweep::default());
    drive(app, tasks, drain, Losses);
    drive(app, tasks, drain, numbers::Numbers);
    drive(app, tasks, drain, Expiry);
    drive(app, tasks, drain, GiveUp);
    drive(app, tasks, drain, Denials);
    drive(app, tasks, drain, Prune);
    drive(app, tasks, drain, Rollouts);
    drive(app, tasks, drain, schedules::Schedules::default());
    drive(app, tasks, drain, alerts::Look::default());
    drive(app, tasks, drain, alerts::Tell::default());
    drive(app, tasks, drain, checkpoints::Checkpoints);
    drive(app, tasks, drain, blobs::Collect);
    drive(app, tasks, drain, workloads::Turns);
    drive(app, tasks, drain, artifacts::Ends);
    if app.replicas.is_shared() {
        drive(app, tasks, drain, authority::Keys);
    }
    if app.fixed.authority.files().is_some() {
        drive(app, tasks, drain, authority::Files::default());
    }
}

/// Says that this process lives.
struct Beat;
/// Keeps memory true to the store.
struct Follow;
/// Writes down what nodes report.
struct Record;
/// Hands out orders.
struct HandOut;
/// Finds silent nodes.
#[derive(Default)]
struct Sweep {
    last: Option<Instant>,
    next: Option<Instant>,
    took: Duration,
}
/// Tells of many nodes that were lost at once, and of a database that is back. Not with the sweep: what waits
/// for the database must not look like a process that was stopped.
struct Losses;
/// Ends orders that were never delivered in time.
struct Expiry;
/// Ends orders whose hosts never say how they ended.
struct GiveUp;

/// Writes down who was refused.
struct Denials;
/// Takes away what is old.
struct Prune;
/// Brings changes to nodes, step by step.
struct Rollouts;

impl Worker for Beat {
    const NAME: &'static str = "beat";
    const PAUSE_AT_MOST: Duration = Duration::from_secs(1);
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        muster_domain::replica::BEAT
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.beat().await
    }
}

/// Waits until more than this is committed.
async fn later(committed: &mut watch::Receiver<u64>, applied: u64) {
    // An error means that the store is closed: the timer is enough then.
    if committed.wait_for(|revision| *revision > applied).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Worker for Follow {
    const NAME: &'static str = "follow";
    const PAUSE_AT_MOST: Duration = Duration::from_secs(1);
    async fn hint(&mut self, app: &App) {
        let mut committed = app.store.committed();
        let applied = *app.feed.applied().borrow();
        tokio::select! {
            () = app.feed.wanted() => {}
            () = later(&mut committed, applied) => {}
        }
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.follow().await
    }
}

impl Worker for Record {
    const NAME: &'static str = "record";
    async fn hint(&mut self, app: &App) {
        app.recorder.wanted().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.record().await
    }
}

impl Worker for HandOut {
    const NAME: &'static str = "hand-out";
    async fn hint(&mut self, app: &App) {
        app.dispatch.wanted().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.hand_out().await
    }
}

impl Worker for Sweep {
    const NAME: &'static str = "sweep";
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, app: &App) -> Duration {
        app.sweep_in(self.next, self.took)
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        let (sweeping, last) = (app.clone(), self.last.replace(app.clock.monotonic()));
        // Not where sessions are: it looks at every node.
        let swept = tasks::blocking(move || sweeping.sweep(last)).await;
        (self.next, self.took) = (swept.next, swept.took);
        app.show_orders(&swept.orders);
        for state in crate::app::heartbeats::STATES {
            let count = swept.counts.get(&state).copied().unwrap_or(0);
            app.metrics.nodes_by_liveness(crate::app::heartbeats::word(state), count);
        }
        app.leave_if_cut_off();
        Ok(())
    }
}

impl Worker for Losses {
    const NAME: &'static str = "losses";
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, app: &App) -> Duration {
        app.sweep_in(None, Duration::ZERO).min(Duration::from_secs(1))
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.tell_losses().await?;
        app.tell_database_back().await
    }
}

impl Worker for Expiry {
    const NAME: &'static str = "expiry";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(1)
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.expire_commands().await.map(|_| ())
    }
}

impl Worker for GiveUp {
    const NAME: &'static str = "give-up";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(30) // it looks at every open order, and waits for minutes anyway
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.give_up_commands().await.map(|_| ())
    }
}

impl Worker for Denials {
    const NAME: &'static str = "denials";
    async fn hint(&mut self, app: &App) {
        app.denials.wanted().await;
    }
    fn every(&self, _: &App) -> Duration {
        Duration::from_secs(60)
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.write_denials().await
    }
}

impl Worker for Prune {
    const NAME: &'static str = "prune";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, _: &App) {
        std::future::pending::<()>().await;
    }
    fn every(&self, app: &App) -> Duration {
        app.fixed.retention.every
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.prune().await
    }
}

impl Worker for Rollouts {
    const NAME: &'static str = "rollouts";
    const IS_FOR_ALL: bool = true;
    async fn hint(&mut self, app: &App) {
        app.rollouts.wanted().await;
    }
    fn every(&self, app: &App) -> Duration {
        app.turn_rollouts_in()
    }
    async fn work(&mut self, app: &App) -> Result<(), crate::app::Error> {
        app.turn_rollouts().await
    }
}
