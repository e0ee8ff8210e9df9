//! Tells receivers what they are to be told: each in a task of its own, so that none waits for another.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use muster_common::{error_chain::Chain, ids::DeliveryId, tasks::Kind};
use muster_domain::{
    alert::{Alert, Delivery, Receiver, Subject, Target, after_failure},
    audit::Note,
    page::{Listed, Page},
    secret::Secret,
};
use muster_store::{
    ReadAlerts as _, ReadDeliveries as _, ReadReceivers as _, ReadSecrets as _, WriteDeliveries as _, WriteTx,
};
use rand::RngExt as _;
use tokio::sync::Mutex;

use super::{body, manager};
use crate::{
    app::{Actor, App, Error},
    notify,
};

/// The worker that tells, for logs and numbers.
pub const TELLS: &str = "tell-alerts";
/// Told in one request.
pub(super) const BATCH: u32 = 100;
/// Requests to one receiver in one go: then the others are looked at again.
const GOES: usize = 10;
/// Longest text of an error that is kept, in characters.
const MAX_ERROR: usize = 512;

/// Receivers, each with what it was told last. Whoever has that tells it: one at a time.
#[derive(Debug, Default)]
pub struct Telling(BTreeMap<String, Arc<Mutex<manager::Told>>>);

/// What a receiver is to be told now.
struct Batch {
    told: Vec<(Delivery, Alert)>,
    secret: Option<Secret>,
}

impl App {
    /// Begins to tell all receivers what is due; one that is being told still is left alone.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn tell_receivers(&self, telling: &mut Telling) -> Result<(), Error> {
        let receivers = self.store.read_own(|tx| tx.receiver_all().map_err(Error::from)).await?;
        telling.0.retain(|name, _| receivers.iter().any(|it| it.name == *name));
        for receiver in receivers.into_iter().filter(|it| !it.paused) {
            let told = telling.0.entry(receiver.name.clone()).or_default();
            let Ok(mut told) = Arc::clone(told).try_lock_owned() else { continue };
            let app = self.clone();
            self.tasks.spawn("tell-receiver", Kind::BestEffort, async move {
                if let Err(error) = app.tell_all(&receiver, &mut told).await {
                    let (name, error) = (&receiver.name, Chain(&error));
                    app.metrics.worker_failed(TELLS);
                    tracing::warn!(receiver = %name, %error, "what receiver {name} was told is not known");
                }
            });
        }
        Ok(())
    }

    /// What was told and could not be written down is told again.
    async fn tell_all(&self, receiver: &Receiver, told: &mut manager::Told) -> Result<(), Error> {
        if receiver.target == Target::Alertmanager {
            self.tell_open(receiver, told).await?;
        }
        for _ in 0..GOES {
            let batch = self.batch(receiver).await?;
            if batch.told.is_empty() || self.is_draining() {
                return Ok(());
            }
            let told = self.tell(receiver, &batch).await;
            let failed = told.is_err();
            self.metrics.alerts_told(if failed { "failed" } else { "told" }, batch.told.len() as u64);
            self.settle(receiver, batch, told).await?;
            if failed {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn batch(&self, receiver: &Receiver) -> Result<Batch, Error> {
        let (name, target, now) = (receiver.name.clone(), receiver.target, self.clock.now());
        let read = self.store.read_own(move |tx| {
            let due = match target {
                Target::Alertmanager => tx.delivery_due(&name, now, BATCH)?,
                // What happened is told in its order: who could not be told of one waits for it.
                Target::Webhook => {
                    let first = tx.delivery_first(&name, BATCH)?;
                    first.into_iter().take_while(|it| it.due_at <= now).collect()
                }
            };
            let mut told = Vec::new();
            for delivery in due {
                told.extend(tx.alert_get(delivery.alert)?.map(|alert| (delivery, alert)));
            }
            Ok::<_, Error>(Batch { told, secret: tx.secret_of_receiver(&name)? })
        });
        read.await
    }

    async fn tell(&self, receiver: &Receiver, batch: &Batch) -> Result<(), String> {
        let (domain, now) = (self.fixed.trust_domain.as_str(), self.clock.now());
        if receiver.target == Target::Alertmanager {
            // Of what is open it hears otherwise.
            let ended = batch.told.iter().map(|(_, alert)| alert).filter(|alert| alert.ended_at.is_some());
            let ended: Vec<Alert> = ended.cloned().collect();
            return if ended.is_empty() { Ok(()) } else { self.tell_manager(receiver, &ended).await };
        }
        let named =
            |(delivery, alert): &(Delivery, Alert)| (delivery.clone(), alert.clone(), self.name_in(alert));
        let told: Vec<_> = batch.told.iter().map(named).collect();
        let secret = batch.secret.as_ref().map(|secret| self.vault.decrypt(secret)).transpose();
        let secret = secret.map_err(|error| error.to_string())?;
        let json = Bytes::from(body::of_webhook(domain, &told));
        let posted = notify::post(&receiver.url, json, secret.as_ref().map(|it| it.as_slice()), now).await;
        posted.map_err(|error| Chain(&error).to_string())
    }

    /// The name of the node that an alert is about; empty: it is about none that is there.
    pub(super) fn name_in(&self, alert: &Alert) -> String {
        let Subject::Node(node) = alert.subject else { return String::new() };
        self.fleet.with(node, |entry| entry.node.display_name.clone()).unwrap_or_default()
    }

    async fn settle(&self, receiver: &Receiver, batch: Batch, told: Result<(), String>) -> Result<(), Error> {
        let (now, dice) = (self.clock.now(), rand::rng().random_range(0.0..=1.0));
        let deliveries: Vec<Delivery> = batch.told.into_iter().map(|(delivery, _)| delivery).collect();
        let Receiver { name, tries, .. } = receiver.clone();
        if let Err(error) = &told {
            tracing::warn!(receiver = %name, error, "receiver {name} of alerts could not be told");
        }
        let write = move |tx: &mut WriteTx<'_>| {
            let mut dead = 0;
            for delivery in &deliveries {
                match &told {
                    Ok(()) => tx.delivery_delete(delivery.id)?,
                    Err(error) => {
                        let error = error.chars().take(MAX_ERROR).collect();
                        dead +=
                            u64::from(settle_failed(tx, &after_failure(delivery, tries, error, dice, now))?);
                    }
                }
            }
            Ok::<_, Error>(dead)
        };
        let dead = self.store.write(self.own_stamp("alerts.tell"), write).await?.value;
        if dead > 0 {
            let name = &receiver.name;
            tracing::error!(receiver = %name, dead, "receiver {name} is not told of {dead} alerts any more: see ListDeadLetters");
            self.metrics.alerts_told("dead", dead);
        }
        Ok(())
    }

    /// A page of what receivers could not be told, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn dead_letters(&self, page: Page) -> Result<Listed<Delivery>, Error> {
        self.store.read(move |tx| tx.delivery_dead(&page).map_err(Error::from)).await
    }

    /// Has one of them tried again.
    ///
    /// # Errors
    /// If there is none.
    pub async fn retry_dead_letter(&self, actor: &Actor, id: DeliveryId) -> Result<(), Error> {
        let now = self.clock.now();
        self.commit(actor.stamp("alerts.retry-dead-letter", now), move |tx| {
            let letter = tx.delivery_get(id)?.filter(|it| it.dead_at.is_some());
            let letter = letter.ok_or_else(|| Error::not_found("dead letter", &id))?;
            tx.delivery_revive(id, now)?;
            let subject = format!("alert-receiver/{}", letter.receiver);
            let after = serde_json::json!({ "alert": letter.alert }).to_string();
            tx.audit(Note { subject, after, ..Note::default() })?;
            Ok(())
        })
        .await
    }
}

/// Whether nobody tries it any more.
fn settle_failed(tx: &mut WriteTx<'_>, delivery: &Delivery) -> Result<bool, Error> {
    if tx.delivery_get(delivery.id)?.is_none() {
        return Ok(false);
    }
    tx.delivery_put(delivery)?;
    Ok(delivery.dead_at.is_some())
}
