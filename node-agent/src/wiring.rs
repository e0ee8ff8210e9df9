//! Joins the rooms of a running agent. One line for each; no decisions.

mod host;
mod node;
mod settings;

pub use settings::{Origin, resolve};

use std::time::Duration;

use muster_common::{clock::Clock, ids::NodeId, telemetry::Level};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    applier,
    config::Config,
    identity::{self, Identity},
    locks,
    state_dir::{StateDir, Status},
};

/// Between looks for an identity that `connect` or `disconnect` changed.
const LOOK: Duration = Duration::from_millis(500);

/// Why `run` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to.
    Stopped,
    /// It is to be started anew.
    Restart,
}

/// What all rooms share.
struct House {
    config: Config,
    state: StateDir,
    identity: identity::Store,
    locks: locks::Reader,
    clock: Clock,
    level: Level,
}

/// Runs the agent: in the fleet whenever this host has an identity, waiting for
/// one otherwise.
///
/// # Errors
/// If the host's state cannot be used.
pub async fn run(config: Config, state: StateDir, level: Level) -> anyhow::Result<Exit> {
    let house = House {
        identity: identity::Store::new(state.path()),
        locks: locks::Reader::new(config.locks_file.clone()),
        config,
        state,
        clock: Clock::System,
        level,
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
    };
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return Ok(Exit::Stopped),
            () = house.clear_up() => {}
        }
        let identity = tokio::select! {
            biased;
            () = &mut stop => return Ok(Exit::Stopped),
            identity = house.wait_for_identity() => identity?,
        };
        match node::run(&house, identity, &mut stop).await? {
            node::End::Stopped => return Ok(Exit::Stopped),
            node::End::Restart => return Ok(Exit::Restart),
            node::End::Removed(reason) => {
                tracing::warn!("this node was removed from its fleet: {reason}");
                house.identity.forget()?;
            }
            node::End::Forgotten => {}
        }
    }
}

/// Forgets an enrollment. A change that was cut off is undone before its journal goes.
///
/// # Errors
/// If it cannot be undone now, or from the file system.
pub async fn forget(config: &Config, state: &StateDir, node: NodeId) -> anyhow::Result<()> {
    let locks = locks::Reader::new(config.locks_file.clone());
    applier::settle(items(config, state, node, locks)).await?;
    Ok(state.forget_node(node)?)
}

/// What the applier of a node needs.
fn items(config: &Config, state: &StateDir, node: NodeId, locks: locks::Reader) -> applier::Options {
    applier::Options {
        folder: state.node(node).join("items"),
        locks,
        clock: Clock::System,
        protected: vec![config.path.clone(), config.locks_file.clone(), state.path().to_owned()],
    }
}

impl House {
    /// Forgets all enrollments but the one of now; a crash may have left one behind.
    async fn clear_up(&self) {
        let nodes = self.state.nodes();
        let (Ok(nodes), Ok(now)) = (nodes, self.identity.load()) else { return };
        for node in nodes.into_iter().filter(|node| now.as_ref().is_none_or(|now| now.node != *node)) {
            if let Err(error) = forget(&self.config, &self.state, node).await {
                tracing::warn!(%node, "what is left of node {node} could not be cleared away: {error:#}");
            }
        }
    }

    async fn wait_for_identity(&self) -> Result<Identity, identity::Error> {
        let mut told = false;
        loop {
            if let Some(identity) = self.identity.load()? {
                return Ok(identity);
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("this host is in no fleet; `muster-node-agent connect` brings it into one");
                self.tell("not connected", "");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the identity is no longer the file's: someone disconnected this host.
    async fn identity_gone(&self, identity: &Identity) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.identity.load() {
                Ok(Some(now)) if now.node == identity.node => {}
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "the identity cannot be read"),
            }
        }
    }

    fn tell(&self, session: &str, error: &str) {
        self.state.set_status(&Status {
            pid: std::process::id(),
            session: session.to_owned(),
            since: self.clock.now().0,
            error: error.to_owned(),
        });
    }
}
