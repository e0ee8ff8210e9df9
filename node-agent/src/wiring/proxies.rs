//! By which way each service of the control plane is reached: told to people, and followed
//! by the session when it changes.

use std::collections::BTreeMap;

use muster_common::settings::Service;
use tokio::sync::watch;

use crate::{identity::Identity, proxy::Rules, state::Line};

/// The ways of now.
#[derive(Debug, Clone)]
pub(super) struct Ways {
    rules: watch::Receiver<Rules>,
    identity: watch::Receiver<Identity>,
}

impl Ways {
    pub(super) const fn new(rules: watch::Receiver<Rules>, identity: watch::Receiver<Identity>) -> Self {
        Self { rules, identity }
    }

    /// For people, by the name of the service.
    pub(super) fn told(&mut self) -> BTreeMap<String, String> {
        told(&self.rules.borrow_and_update(), Some(&self.identity.borrow()))
    }

    /// Waits until they may be others.
    pub(super) async fn changed(&mut self) {
        if self.rules.changed().await.is_err() {
            std::future::pending::<()>().await; // nobody puts options into force any more
        }
    }

    /// Asks for a new session whenever another way may lead to where it is.
    pub(super) async fn follow(mut self, line: &Line) {
        let mut before = self.rules.borrow_and_update().clone();
        loop {
            self.changed().await;
            let now = self.rules.borrow_and_update().clone();
            // The same way for another reason is the same way. Whether a session is led
            // elsewhere cannot be told from here: it may have been sent to another address.
            if !now.lead_like(&before) {
                let way = self.told().remove("session").unwrap_or_default();
                tracing::info!(
                    way,
                    "connections go another way from now on: the proxy for sessions is {way}"
                );
                line.anew();
            }
            before = now;
        }
    }
}

/// The way to the first address of each service, for people. Without an identity only what
/// counts for every address is known.
pub fn told(rules: &Rules, identity: Option<&Identity>) -> BTreeMap<String, String> {
    let way = |service: Service| {
        let addresses = identity.map(|it| match service {
            Service::Session | Service::Artifacts => &it.session_addresses,
            Service::Enrollment => &it.enrollment_addresses,
        });
        let address = addresses.and_then(|all| all.first()).map_or("", String::as_str);
        (service.as_str().to_ascii_lowercase(), rules.route(service, address).to_string())
    };
    Service::ALL.into_iter().map(way).collect()
}
