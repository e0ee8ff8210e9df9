//! Tells an Alertmanager what is so: all that is open, again and again, as it takes what it is not told
//! for some minutes to be over. That is read from the alerts themselves: it hears of all of them, however
//! long it was away, and whenever it was made a receiver.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use muster_common::{clock::Instant, error_chain::Chain, ids::AlertId};
use muster_domain::alert::{Alert, Receiver, pause};
use muster_store::ReadAlerts as _;
use rand::RngExt as _;

use super::{body, deliver::BATCH};
use crate::{
    app::{App, Error},
    notify,
};

/// It is told again of what is so, this often; and tried again after this time at most.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What one was told last, by this process.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Revision of the receiver: another one may be elsewhere.
    revision: u64,
    /// Of what there was to be told.
    mark: Option<(u64, u64)>,
    /// Revision of each alert, and when.
    open: HashMap<AlertId, (u64, Instant)>,
    /// Tries that failed since one did not.
    failed: u32,
    /// Not before.
    wait_until: Option<Instant>,
}

impl Told {
    /// Whether somebody has to be told again of something, though nothing is another.
    fn is_due(&self, now: Instant) -> bool {
        self.open.values().any(|(_, at)| now - *at >= AGAIN_AFTER)
    }

    fn is_news(&self, alert: &Alert, now: Instant) -> bool {
        let known = self.open.get(&alert.id);
        known.is_none_or(|(revision, at)| *revision != alert.revision || now - *at >= AGAIN_AFTER)
    }
}

impl App {
    /// Tells an Alertmanager of what is open, as far as it has to hear of it now.
    pub(super) async fn tell_open(&self, receiver: &Receiver, told: &mut Told) -> Result<(), Error> {
        let now = self.clock.monotonic();
        if told.revision != receiver.revision {
            *told = Told { revision: receiver.revision, ..Told::default() };
        }
        if told.wait_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let (known, is_due) = (told.mark, told.is_due(now));
        let read = self.store.read_own(move |tx| {
            let mark = tx.alert_mark()?;
            let is_wanted = is_due || known != Some(mark);
            Ok::<_, Error>((mark, if is_wanted { Some(tx.alert_open_all()?) } else { None }))
        });
        let (mark, Some(mut open)) = read.await? else { return Ok(()) };
        open.retain(|alert| alert.silence.is_none() && alert.receivers.contains(&receiver.name));
        let there: HashSet<AlertId> = open.iter().map(|alert| alert.id).collect();
        told.open.retain(|id, _| there.contains(id));
        open.retain(|alert| told.is_news(alert, now));
        for some in open.chunks(BATCH as usize) {
            if self.is_draining() || !self.tell_some(receiver, some, told).await {
                told.mark = None;
                return Ok(());
            }
        }
        told.mark = Some(mark);
        Ok(())
    }

    /// Whether it took them.
    async fn tell_some(&self, receiver: &Receiver, some: &[Alert], told: &mut Told) -> bool {
        let (begun, count) = (self.clock.monotonic(), some.len() as u64);
        let Err(error) = self.tell_manager(receiver, some).await else {
            self.metrics.alerts_told("told", count);
            told.open.extend(some.iter().map(|alert| (alert.id, (alert.revision, begun))));
            (told.failed, told.wait_until) = (0, None);
            return true;
        };
        self.metrics.alerts_told("failed", count);
        let name = &receiver.name;
        tracing::warn!(receiver = %name, error, "receiver {name} of alerts could not be told");
        let wait = pause(told.failed, rand::rng().random_range(0.0..=1.0)).min(AGAIN_AFTER);
        (told.failed, told.wait_until) = (told.failed.saturating_add(1), Some(self.clock.monotonic() + wait));
        false
    }

    /// One request; why it was not taken.
    pub(super) async fn tell_manager(&self, receiver: &Receiver, alerts: &[Alert]) -> Result<(), String> {
        let (domain, now) = (self.fixed.trust_domain.as_str(), self.clock.now());
        let named: Vec<(Alert, String)> =
            alerts.iter().map(|alert| (alert.clone(), self.name_in(alert))).collect();
        let url = format!("{}/api/v2/alerts", receiver.url.trim_end_matches('/'));
        let json = Bytes::from(body::of_alertmanager(domain, &named, now));
        notify::post(&url, json, None, now).await.map_err(|error| Chain(&error).to_string())
    }
}
