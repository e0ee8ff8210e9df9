//! The fleet console: pages about the fleet for a browser, behind a door of its own.
//!
//! Promises: whoever looks has an operator's certificate, or came by a one-time link and
//! has the link's role; a page asks for what its method of the operators' API asks for,
//! and shows what that caller would be answered there. Nothing is changed from here: all is
//! GET, and the only thing written is the audit's note of who came by a link. Pages are whole
//! without script; nothing comes from anywhere else.

mod alerts;
mod answer;
mod assets;
mod caller;
mod entered;
mod frame;
pub mod links;
mod live;
mod pages;
mod plot;
mod runbooks;
mod samples;
mod visit;
mod words;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use muster_common::{
    drain::Drain,
    tasks::{self, Kind, Tasks},
};

use self::{alerts::Alerts, entered::Entered, links::Links, samples::Samples};
use crate::{app::App, config, server::Gate};

/// Between looks at which links were ended.
const LINKS: Duration = Duration::from_secs(1);

/// All that pages need. Cheap to clone.
#[derive(Clone)]
pub struct FleetConsole(Arc<Inner>);

/// The shared parts.
pub struct Inner {
    app: App,
    gate: Gate,
    links: Links,
    entered: Entered,
    samples: Samples,
    alerts: Alerts,
    sample_every: Duration,
}

impl std::ops::Deref for FleetConsole {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl FleetConsole {
    /// Opens the place of its links.
    ///
    /// # Errors
    /// If that cannot be made.
    pub fn open(
        app: App,
        gate: Gate,
        config: &config::FleetConsole,
        state_dir: &Path,
    ) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            app,
            gate,
            links: Links::open(state_dir)?,
            entered: Entered::new(config.session_ttl),
            samples: Samples::default(),
            alerts: Alerts::default(),
            sample_every: config.sample_every,
        })))
    }

    /// All pages.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(pages::overview::page))
            .route("/nodes", get(pages::nodes::page))
            .route("/nodes/events", get(pages::nodes::events))
            .route("/nodes/{id}", get(pages::node::page))
            .route("/nodes/{id}/explain", get(pages::explain::page))
            .route("/alerts", get(pages::alerts::page))
            .route("/alerts/events", get(pages::alerts::events))
            .route("/runbooks/{name}", get(pages::runbook::page))
            .route("/rollouts", get(pages::rollouts::page))
            .route("/rollouts/{id}", get(pages::rollout::page))
            .route("/rollouts/{id}/events", get(pages::progress::events))
            .route("/audit", get(pages::audit::page))
            // What looks at a link without coming by it would use it up.
            .route("/link/{token}", get(pages::link::page).head(answer::only_get))
            .route("/assets/{name}", get(assets::asset))
            .fallback(answer::nowhere)
            .method_not_allowed_fallback(answer::only_get)
            .layer(middleware::map_response(answer::guarded))
            .with_state(self.clone())
    }

    /// Counts the nodes for the plot, follows the alerts, and ends whose links were ended, until the
    /// end begins.
    pub fn work(&self, tasks: &Tasks, drain: &Drain) {
        let (console, over) = (self.clone(), drain.clone());
        tasks.spawn("fleet-console", Kind::BestEffort, async move {
            tokio::select! {
                () = over.begun() => {}
                () = console.alerts.follow(&console.app) => {}
            }
        });
        let (console, over) = (self.clone(), drain.clone());
        tasks.spawn("fleet-console", Kind::BestEffort, async move {
            loop {
                console.samples.take(&console.app).await;
                tokio::select! {
                    () = over.begun() => return,
                    () = tokio::time::sleep(console.sample_every) => {}
                }
            }
        });
        let (console, over) = (self.clone(), drain.clone());
        tasks.spawn("fleet-console-links", Kind::BestEffort, async move {
            loop {
                tokio::select! {
                    () = over.begun() => return,
                    () = tokio::time::sleep(LINKS) => console.end_guests().await,
                }
            }
        });
    }

    async fn end_guests(&self) {
        // First who is here: whoever comes meanwhile is not among those that are read.
        let here = self.entered.links();
        if here.is_empty() {
            return;
        }
        let links = self.links.clone();
        let spent = tasks::blocking(move || links.spent()).await.unwrap_or_else(|error| {
            // Nobody stays because the disk does not say who was ended.
            tracing::error!(%error, "one-time links cannot be read, so nobody who came by one stays: {error}");
            HashSet::new()
        });
        self.entered.end(&here.difference(&spent).cloned().collect());
    }
}
