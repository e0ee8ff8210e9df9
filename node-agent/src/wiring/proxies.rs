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

    /// Asks for a new session whenever another way leads to where it is.
    pub(super) async fn follow(mut self, line: &Line) {
        let mut before = self.rules.borrow_and_update().clone();
        loop {
            self.changed().await;
            let now = self.rules.borrow_and_update().clone();
            // The same way for another reason is the same way; so is another one for others.
            // Who waits for the next try need not wait longer, wherever that will go.
            let way = |rules: &Rules, address: &str| rules.route(Service::Session, address).way;
            let stays = match line.leads_to() {
                Some(address) => way(&now, &address) == way(&before, &address),
                None => now.lead_like(&before),
            };
            if !stays {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_common::{clock::UnixMillis, ids::NodeId};

    use super::*;
    use crate::{proxy::Environment, state::Origin};

    /// Rules with one proxy and these exceptions.
    fn rules(bypass: &str) -> Rules {
        Rules::new(("http://proxy.example:3128", Origin::Default), bypass, Environment::default())
    }

    fn nobody() -> Identity {
        Identity {
            node: NodeId::generate(),
            trust_domain: "fleet.example".parse().unwrap(),
            certificate_generation: 1,
            trust_bundle_version: 1,
            enrollment_addresses: Vec::new(),
            issuers_pem: String::new(),
            session_addresses: Vec::new(),
            not_before: UnixMillis(0),
            not_after: UnixMillis(0),
            chain_pem: String::new(),
            key_pem: String::new().into(),
            roots_pem: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_another_way_to_where_the_session_is_asks_for_a_new_one() {
        let (sender, line) = (watch::Sender::new(rules("")), Line::default());
        let ways = Ways::new(sender.subscribe(), watch::Sender::new(nobody()).subscribe());
        let follow = ways.follow(&line);
        let edit = async |bypass: &str| {
            sender.send_replace(rules(bypass));
            tokio::time::sleep(Duration::from_secs(1)).await;
            line.asked().number
        };
        let edits = async {
            assert_eq!(edit("a.example").await, 1, "nothing is open: who waits tries at once");
            line.goes_to("cp.example:8443");
            assert_eq!(edit("b.example").await, 1, "it is no way of the session");
            assert_eq!(edit("artifacts").await, 1, "nor is that");
            assert_eq!(edit("cp.example").await, 2);
            assert_eq!(edit("session").await, 2, "the same way for another reason");
            line.goes_to("other.example:8443");
            assert_eq!(edit("cp.example").await, 3, "through the proxy, to where it was sent");
        };
        // It follows from before the first edit on.
        tokio::select! { biased; () = follow => panic!("it follows for ever"), () = edits => {} }
    }
}
