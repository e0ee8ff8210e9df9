//! One look: what is found becomes alerts, and what is to be told of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, DeliveryId},
};
use muster_domain::{
    alert::{
        Alert, Delivery, Event, Kind, Memory, Receiver, Rule, Signs, Silence, Subject, TEST_FOR, Target,
        evaluate,
    },
    event::{self, Happened},
    labels::{Selector, Written},
};
use muster_store::{ReadAlerts as _, ReadReceivers as _, WriteAlerts as _, WriteDeliveries as _, WriteTx};

use super::{lost::Lost, rules, world::Watched};
use crate::app::{App, Error, events};

/// Alerts in one write: some milliseconds of the writer.
const STEP: usize = 200;
/// Looking takes at most this part of the time.
const REST: u32 = 20;
/// Between two looks.
const LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What one replica knows of rules and alerts: nothing that decides, only what spares reading, and
/// since when it sees what is so.
#[derive(Debug, Default)]
pub struct Looked {
    mark: Option<(u64, u64)>,
    rules: Vec<Rule>,
    receivers: Vec<Receiver>,
    silences: Vec<Silence>,
    open: Vec<Alert>,
    memories: BTreeMap<String, Memory>,
    lost: Lost,
    took: Duration,
}

/// An alert that is to be written, and what receivers are told with it.
type Change = (Alert, Option<Event>);

impl Looked {
    /// How long until the next look.
    #[must_use]
    pub fn rests(&self) -> Duration {
        (self.took * REST).clamp(LIMITS.0, LIMITS.1)
    }
}

impl App {
    /// Looks once. What another has changed meanwhile is left for the next look.
    ///
    /// # Errors
    /// If the store fails; what was not written is found again.
    pub async fn look_for_alerts(&self, looked: &mut Looked) -> Result<(), Error> {
        let begun = self.clock.monotonic();
        self.read_alerts(looked).await?;
        let now = self.clock.now();
        let changes = self.alert_changes(looked, now).await?;
        let ready = self.with_silences(looked, changes, now);
        for some in ready.chunks(STEP) {
            let (some, receivers) = (some.to_vec(), looked.receivers.clone());
            let write = move |tx: &mut WriteTx<'_>| {
                some.iter().try_for_each(|(alert, event)| put(tx, alert, *event, &receivers, now))
            };
            self.store.write(self.own_stamp("alerts.look"), write).await?;
        }
        looked.took = self.clock.monotonic() - begun;
        Ok(())
    }

    async fn read_alerts(&self, looked: &mut Looked) -> Result<(), Error> {
        let known = looked.mark;
        let read = self.store.read_own(move |tx| {
            let mark = tx.alert_mark()?;
            if Some(mark) == known {
                return Ok::<_, Error>(None);
            }
            Ok(Some((mark, rules(tx)?, tx.receiver_all()?, tx.silence_all()?, tx.alert_open_all()?)))
        });
        if let Some((mark, rules, receivers, silences, open)) = read.await? {
            let mut memories = std::mem::take(&mut looked.memories);
            memories.retain(|name, _| rules.iter().any(|rule| rule.name == *name && !rule.disabled));
            let (lost, took) = (std::mem::take(&mut looked.lost), looked.took);
            *looked = Looked { mark: Some(mark), rules, receivers, silences, open, memories, lost, took };
        }
        Ok(())
    }

    async fn alert_changes(&self, looked: &mut Looked, now: UnixMillis) -> Result<Vec<Alert>, Error> {
        let Looked { rules, open, memories, lost, .. } = looked;
        let watched: Vec<Watched<'_>> = rules.iter().filter_map(|rule| self.watched(rule)).collect();
        let mut signs = self.alert_signs(&watched, now).await?;
        for (_, signs) in watched.iter().zip(&mut signs).filter(|(it, _)| it.rule.kind == Kind::ReplicaLost) {
            self.lost_replicas(lost, now, signs).await?;
        }
        let mut changes = ended_otherwise(rules, open, now);
        for (watched, signs) in watched.iter().zip(&signs) {
            let of_rule = |alert: &&Alert| alert.rule == watched.rule.name && !alert.is_test;
            let own: Vec<Alert> = open.iter().filter(of_rule).cloned().collect();
            let memory = memories.entry(watched.rule.name.clone()).or_default();
            let found = evaluate(watched.rule, signs, &own, memory, AlertId::generate, now);
            changes.extend(found.into_iter().map(|alert| self.with_cause(alert, watched, signs)));
        }
        Ok(changes)
    }

    /// `None`: it is off, or names a group that is not there any more; its alerts stay as they are then.
    fn watched<'a>(&self, rule: &'a Rule) -> Option<Watched<'a>> {
        if rule.disabled {
            return None;
        }
        if !rule.kind.is_of_nodes() {
            return Some(Watched { rule, selector: Selector::all() });
        }
        let selector = self.alert_selector(&rule.selector);
        if selector.is_none() {
            let name = &rule.name;
            tracing::debug!(rule = %name, "rule {name} names a group that is not there: it finds nothing");
        }
        selector.map(|selector| Watched { rule, selector })
    }

    fn alert_selector(&self, text: &str) -> Option<Selector> {
        Written::parse(text).ok()?.resolve(&self.catalog.now().groups).ok()
    }

    fn with_cause(&self, alert: Alert, watched: &Watched<'_>, signs: &Signs) -> Alert {
        match &alert.subject {
            Subject::Group(group) if alert.ended_at.is_none() => {
                let cause = self.cause(watched, group, signs);
                Alert { message: cause.message.clone(), cause: Some(cause), ..alert }
            }
            _ => alert,
        }
    }

    /// The changes, and those alerts whose silence begins or ends; with what there is to tell.
    fn with_silences(&self, looked: &Looked, changes: Vec<Alert>, now: UnixMillis) -> Vec<Change> {
        let active = looked.silences.iter().filter(|it| it.is_active(now));
        let silences: Vec<(&Silence, Option<Selector>)> =
            active.map(|it| (it, self.alert_selector(&it.selector))).collect();
        let known: BTreeSet<AlertId> = changes.iter().map(|alert| alert.id).collect();
        let others = looked.open.iter().filter(|alert| !known.contains(&alert.id));
        let turned = |alert: Alert| {
            let silence =
                silences.iter().find(|(it, selector)| self.is_silenced(&alert, it, selector.as_ref()));
            let silence = silence.map(|(it, _)| it.id).filter(|_| alert.ended_at.is_none());
            Alert { silence, ..alert }.news()
        };
        let others = others.map(|before| (before, turned(before.clone())));
        let others = others.filter(|(before, (after, _))| *before != after).map(|(_, change)| change);
        let changed = changes.into_iter().map(turned);
        let named = |(alert, event): Change| match event {
            Some(Event::Opened) => {
                let rule = looked.rules.iter().find(|rule| rule.name == alert.rule);
                (Alert { receivers: told(rule, &looked.receivers), ..alert }, event)
            }
            _ => (alert, event),
        };
        changed.chain(others).map(named).collect()
    }

    fn is_silenced(&self, alert: &Alert, silence: &Silence, selector: Option<&Selector>) -> bool {
        if !silence.rule.is_empty() && silence.rule != alert.rule {
            return false;
        }
        match (&alert.subject, selector) {
            _ if silence.selector.is_empty() => true,
            (Subject::Node(node), Some(selector)) => {
                let matches = self.fleet.with(*node, |it| selector.matches(&it.node.labels, &it.node.facts));
                matches.unwrap_or(false)
            }
            _ => false,
        }
    }
}

/// Alerts whose rule is gone or off, and tests that are over.
fn ended_otherwise(rules: &[Rule], open: &[Alert], now: UnixMillis) -> Vec<Alert> {
    let is_on = |alert: &Alert| rules.iter().any(|rule| rule.name == alert.rule && !rule.disabled);
    let ended = |alert: &Alert| match alert.is_test {
        true if now.since(alert.opened_at) >= TEST_FOR => Some(alert.ended("TestOver", now)),
        false if !is_on(alert) => Some(alert.ended("RuleOff", now)),
        _ => None,
    };
    open.iter().filter_map(ended).collect()
}

/// Who is told of alerts of a rule.
pub(super) fn told(rule: Option<&Rule>, receivers: &[Receiver]) -> Vec<String> {
    let names = receivers.iter().map(|receiver| receiver.name.clone());
    let named = rule.map_or(&[][..], |rule| &rule.receivers);
    names.filter(|name| named.is_empty() || named.contains(name)).collect()
}

/// Writes an alert down with what there is to tell of it, unless another has changed it meanwhile.
pub(super) fn put(
    tx: &mut WriteTx<'_>,
    alert: &Alert,
    event: Option<Event>,
    receivers: &[Receiver],
    now: UnixMillis,
) -> Result<(), Error> {
    if !tx.alert_put(alert)? {
        return Ok(());
    }
    turned(alert).map_or(Ok(()), |what| events::tell(tx, what))?;
    let Some(event) = event else { return Ok(()) };
    for receiver in receivers.iter().filter(|it| alert.receivers.contains(&it.name)) {
        if receiver.target == Target::Alertmanager {
            tx.delivery_replace(&receiver.name, alert.id)?; // it is told what is so now, not what happened
        }
        tx.delivery_put(&Delivery {
            id: DeliveryId::generate(),
            receiver: receiver.name.clone(),
            alert: alert.id,
            event,
            created_at: now,
            tries: 0,
            due_at: now,
            dead_at: None,
            error: String::new(),
        })?;
    }
    Ok(())
}

/// That it began, or ended, as an event.
fn turned(alert: &Alert) -> Option<Happened> {
    let (rule, subject) = (&alert.rule, &alert.subject);
    let what = match alert.ended_at {
        Some(_) => Happened::new(event::Kind::AlertResolved, &format!("{rule} ended for {subject}"))
            .for_reason(&alert.end_reason),
        None if alert.revision == 0 => {
            Happened::new(event::Kind::AlertOpened, &format!("{rule}: {}", alert.message))
                .as_bad_as(alert.severity)
                .for_reason(&alert.reason)
        }
        None => return None,
    };
    let what = what.about(format!("alert/{}", alert.id)).with("rule", rule).with("subject", subject);
    let what = if alert.count > 1 { what.with("nodes", alert.count) } else { what };
    Some(match subject {
        Subject::Node(node) => what.to(*node),
        Subject::Group(_) | Subject::Thing(_) => what,
    })
}
