//! Tells receivers what they are to be told: each by itself, so that none waits for another.

use bytes::Bytes;
use futures_util::future::join_all;
use muster_common::{clock::UnixMillis, error_chain::Chain, ids::DeliveryId};
use muster_domain::{
    alert::{Alert, Delivery, Event, Receiver, Subject, Target, after_failure},
    audit::Note,
    page::{Listed, Page},
    secret::Secret,
};
use muster_store::{
    ReadAlerts as _, ReadDeliveries as _, ReadReceivers as _, ReadSecrets as _, WriteDeliveries as _, WriteTx,
};
use rand::RngExt as _;

use super::body;
use crate::{
    app::{Actor, App, Error},
    notify,
};

/// Told in one request.
const BATCH: u32 = 100;
/// Requests to one receiver in one go: then the others are looked at again.
const GOES: usize = 10;
/// Longest text of an error that is kept, in characters.
const MAX_ERROR: usize = 512;

/// What a receiver is to be told now.
struct Batch {
    told: Vec<(Delivery, Alert)>,
    secret: Option<Secret>,
}

impl App {
    /// Tells all receivers what is due.
    ///
    /// # Errors
    /// If the store fails; what was told and could not be written down is told again.
    pub async fn tell_receivers(&self) -> Result<(), Error> {
        let receivers = self.store.read_own(|tx| tx.receiver_all().map_err(Error::from)).await?;
        let told =
            receivers.iter().filter(|receiver| !receiver.paused).map(|receiver| self.tell_all(receiver));
        join_all(told).await.into_iter().collect()
    }

    async fn tell_all(&self, receiver: &Receiver) -> Result<(), Error> {
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
        let is_told = |(delivery, alert): &&(Delivery, Alert)| {
            receiver.target == Target::Webhook || delivery.event == Event::Resolved || alert.silence.is_none()
        };
        let named =
            |(delivery, alert): &(Delivery, Alert)| (delivery.clone(), alert.clone(), self.name_in(alert));
        let told: Vec<_> = batch.told.iter().filter(is_told).map(named).collect();
        if told.is_empty() {
            return Ok(());
        }
        let secret = batch.secret.as_ref().map(|secret| self.vault.decrypt(secret)).transpose();
        let secret = secret.map_err(|error| error.to_string())?;
        let (url, json) = match receiver.target {
            Target::Webhook => (receiver.url.clone(), body::of_webhook(domain, &told)),
            Target::Alertmanager => {
                let url = format!("{}/api/v2/alerts", receiver.url.trim_end_matches('/'));
                (url, body::of_alertmanager(domain, &told, now))
            }
        };
        let posted =
            notify::post(&url, Bytes::from(json), secret.as_ref().map(|it| it.as_slice()), now).await;
        posted.map_err(|error| Chain(&error).to_string())
    }

    /// The name of the node that an alert is about; empty: it is about none that is there.
    fn name_in(&self, alert: &Alert) -> String {
        let Subject::Node(node) = alert.subject else { return String::new() };
        self.fleet.with(node, |entry| entry.node.display_name.clone()).unwrap_or_default()
    }

    async fn settle(&self, receiver: &Receiver, batch: Batch, told: Result<(), String>) -> Result<(), Error> {
        let (now, dice) = (self.clock.now(), rand::rng().random_range(0.0..=1.0));
        let deliveries: Vec<Delivery> = batch.told.into_iter().map(|(delivery, _)| delivery).collect();
        let Receiver { name, target, tries, .. } = receiver.clone();
        if let Err(error) = &told {
            tracing::warn!(receiver = %name, error, "receiver {name} of alerts could not be told");
        }
        let write = move |tx: &mut WriteTx<'_>| {
            let mut dead = 0;
            for delivery in &deliveries {
                match &told {
                    Ok(()) => settle_told(tx, delivery, target, now)?,
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

/// An Alertmanager is told again as long as it is so; all else is done with.
fn settle_told(
    tx: &mut WriteTx<'_>,
    delivery: &Delivery,
    target: Target,
    now: UnixMillis,
) -> Result<(), Error> {
    let Some(known) = tx.delivery_get(delivery.id)? else { return Ok(()) };
    let is_open = tx.alert_get(delivery.alert)?.is_some_and(|alert| alert.ended_at.is_none());
    if target == Target::Alertmanager && delivery.event == Event::Opened && is_open {
        let again = Delivery { tries: 0, due_at: now + body::AGAIN_AFTER, error: String::new(), ..known };
        return Ok(tx.delivery_put(&again)?);
    }
    Ok(tx.delivery_delete(delivery.id)?)
}

/// Whether nobody tries it any more.
fn settle_failed(tx: &mut WriteTx<'_>, delivery: &Delivery) -> Result<bool, Error> {
    if tx.delivery_get(delivery.id)?.is_none() {
        return Ok(false);
    }
    tx.delivery_put(delivery)?;
    Ok(delivery.dead_at.is_some())
}
