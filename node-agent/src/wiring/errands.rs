//! What commands ask of other rooms: joins their port to those that do it.

use std::{path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use muster_common::{
    build_info,
    clock::{Clock, UnixMillis},
    error_chain::Chain,
    reason::Reason,
    tasks,
};
use tokio::sync::watch;

use crate::{
    blobs::{self, Downloads},
    commands::errands::{Errands, File, NotBrought, Rotated},
    dial::Dialer,
    identity::{self, Identity},
    state::{Condition, Facts, ItemState},
};

/// All that is known of this host when it is asked.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) identity: Arc<watch::Sender<Identity>>,
    pub(super) store: identity::Store,
    pub(super) renew: identity::Wanted,
    /// Number of the certificate of the newest open session.
    pub(super) in_use: watch::Receiver<u64>,
    pub(super) facts: watch::Receiver<Arc<Facts>>,
    pub(super) items: watch::Receiver<Arc<Vec<ItemState>>>,
    pub(super) conditions: watch::Receiver<Vec<Condition>>,
    pub(super) locks_file: PathBuf,
    pub(super) clock: Clock,
    pub(super) dialer: Dialer,
}

impl Errands for Errand {
    fn describe(&self) -> Vec<(&'static str, String)> {
        let locks = std::fs::read_to_string(&self.locks_file);
        vec![
            ("version.txt", format!("{}\n", build_info::line("muster-node-agent"))),
            ("identity.txt", format!("{:?}\n", *self.identity.borrow())),
            ("facts.json", json(&**self.facts.borrow())),
            ("items.json", json(&**self.items.borrow())),
            ("conditions.txt", self.conditions.borrow().iter().map(line).collect()),
            ("locks.toml", locks.unwrap_or_else(|error| format!("# not to be read: {error}\n"))),
        ]
    }

    fn bring(&self, file: File) -> BoxFuture<'_, Result<(), NotBrought>> {
        Box::pin(async move {
            let downloads = Downloads::new(self.identity.subscribe(), self.dialer.clone());
            let connection = downloads.connect().await.map_err(told)?;
            connection.bring(file.command, &file.path, file.sha256, file.size_bytes).await.map_err(told)
        })
    }

    fn rotate(&self) -> BoxFuture<'_, Rotated> {
        let (mut identity, mut in_use) = (self.identity.subscribe(), self.in_use.clone());
        let before = identity.borrow_and_update().certificate_generation;
        self.renew.by(self.clock.monotonic());
        Box::pin(async move {
            // Both live as long as the agent: an end of one is an end of this.
            let newer = identity.wait_for(|now| now.certificate_generation > before).await;
            let rotated = newer.ok().map(|now| rotated(&now));
            let used = in_use.wait_for(|generation| *generation > before).await.is_ok();
            match rotated {
                Some(rotated) if used => rotated,
                _ => std::future::pending().await,
            }
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let identity = self.identity.borrow().clone();
            let left = identity::leave(&identity, "told to by a command", &self.dialer).await;
            match left {
                // The answer of an earlier try was lost: the node is no more.
                Err(error) if error.reason() == Some(Reason::NodeRemoved) => {}
                other => other.map_err(|error| Chain(&error).to_string())?,
            }
            let (store, node) = (self.store.clone(), identity.node);
            tasks::blocking(move || store.forget(node)).await.map_err(|error| Chain(&error).to_string())
        })
    }
}

fn rotated(identity: &Identity) -> Rotated {
    Rotated {
        serial: identity.serial().unwrap_or_default(),
        not_after: identity.not_after,
        generation: identity.certificate_generation,
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).map_or_else(|error| format!("{error}\n"), |text| text + "\n")
}

fn line(condition: &Condition) -> String {
    let Condition { kind, holds, reason, message, since: UnixMillis(since) } = condition;
    let holds = holds.map_or("unknown", |holds| if holds { "true" } else { "false" });
    format!("{kind}={holds} reason={reason} since-ms={since} {message}\n")
}

fn told(error: blobs::Error) -> NotBrought {
    match error {
        blobs::Error::Refused(refusal) => NotBrought { reason: refusal.reason, message: refusal.message },
        other => NotBrought { reason: None, message: Chain(&other).to_string() },
    }
}
