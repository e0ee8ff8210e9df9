//! The fleet console: pages about the fleet for a browser, behind a door of its own.
//!
//! Promises: whoever looks has an operator's certificate, or came by a one-time link and
//! has the link's role; a page asks for what its method of the operators' API asks for,
//! and shows what that caller would be answered there. Nothing is changed from here: all is
//! GET, and the only thing written is the audit's note of who came by a link. Pages are whole
//! without script; nothing comes from anywhere else.

mod answer;
mod assets;
mod caller;
mod entered;
mod frame;
pub mod links;
mod pages;
mod plot;
mod samples;
mod visit;
mod words;

use std::{path::Path, sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use muster_common::{
    drain::Drain,
    tasks::{Kind, Tasks},
};

use self::{entered::Entered, links::Links, samples::Samples};
use crate::{app::App, config, server::Gate};

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
            sample_every: config.sample_every,
        })))
    }

    /// All pages.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(pages::overview::page))
            .route("/nodes", get(pages::nodes::page))
            .route("/nodes/{id}", get(pages::node::page))
            .route("/nodes/{id}/explain", get(pages::explain::page))
            .route("/rollouts", get(pages::rollouts::page))
            .route("/rollouts/{id}", get(pages::rollout::page))
            .route("/rollouts/{id}/events", get(pages::progress::events))
            .route("/audit", get(pages::audit::page))
            .route("/link/{token}", get(pages::link::page))
            .route("/assets/{name}", get(assets::asset))
            .fallback(answer::nowhere)
            .method_not_allowed_fallback(answer::only_get)
            .layer(middleware::map_response(answer::guarded))
            .with_state(self.clone())
    }

    /// Counts the nodes for the plot, until the end begins.
    pub fn work(&self, tasks: &Tasks, drain: &Drain) {
        let (console, drain) = (self.clone(), drain.clone());
        tasks.spawn("fleet-console", Kind::BestEffort, async move {
            loop {
                console.samples.take(&console.app).await;
                tokio::select! {
                    () = drain.begun() => return,
                    () = tokio::time::sleep(console.sample_every) => {}
                }
            }
        });
    }
}
