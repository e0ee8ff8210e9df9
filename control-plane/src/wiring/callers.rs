//! Joins the doors' questions about callers to the use-cases that know.

use std::sync::Arc;

use muster_common::{
    drain::Drain,
    error_chain::Chain,
    ids::NodeId,
    reason::Reason,
    tasks::{Kind, Tasks},
    tls::spiffe::Principal,
};
use muster_domain::{access::Role, audit::Stamp};
use tokio::sync::mpsc;

use crate::{
    api::peer::Peer,
    app::App,
    server::{layers::Callers, rates::Denials},
};

/// Denials that wait to be written down; more are counted and dropped.
const QUEUE: usize = 256;

struct Denial {
    stamp: Stamp,
    method: String,
}

pub(super) struct Door {
    app: App,
    denials: mpsc::Sender<Denial>,
    rate: Denials,
}

impl Door {
    pub(super) fn start(app: &App, tasks: &Tasks, drain: &Drain) -> Arc<Self> {
        let (denials, queue) = mpsc::channel(QUEUE);
        tasks.spawn("denials", Kind::Fatal, write_down(app.clone(), queue, drain.clone()));
        Arc::new(Self { app: app.clone(), denials, rate: Denials::default() })
    }
}

async fn write_down(app: App, mut queue: mpsc::Receiver<Denial>, drain: Drain) {
    loop {
        let denial = tokio::select! {
            () = drain.deadline() => return,
            denial = queue.recv() => denial,
        };
        let Some(denial) = denial else { return };
        if let Err(error) = app.record_denial(denial.stamp, denial.method).await {
            tracing::warn!(error = %Chain(&error), "a denial could not be written down");
        }
    }
}

impl Callers for Door {
    fn role(&self, principal: &Principal) -> Option<Role> {
        self.app.access.role(&principal.to_string())
    }

    fn node_allowed(&self, node: NodeId, serial: &str) -> Result<(), Reason> {
        self.app.node_may_speak(node, serial)
    }

    fn denied(&self, peer: &Peer, method: &str, reason: Reason) {
        let actor = match &peer.principal {
            Some(principal) => principal.to_string(),
            None => "unknown".to_owned(),
        };
        // One caller at one method once in a while: whoever knocks all day fills no disk.
        if !self.rate.allows(&actor) {
            return;
        }
        let stamp = Stamp {
            actor,
            action: format!("denied.{reason}"),
            at: self.app.clock.now(),
            remote_address: peer.remote.to_string(),
            trace_id: String::new(),
        };
        let denial = Denial { stamp, method: method.chars().take(256).collect() };
        if self.denials.try_send(denial).is_err() {
            self.app.metrics.queue_full("denials");
        }
    }
}
