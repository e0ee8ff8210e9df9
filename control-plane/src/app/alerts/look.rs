//! One look: what is found becomes alerts, and what is to be told of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, DeliveryId, NodeId},
};
use muster_domain::{
    alert::{
        Alert, Delivery, Event, Kind, Memory, News, Receiver, Rule, Signs, Silence, Subject, TEST_FOR,
        Target, evaluate,
    },
    event::{self, Happened},
    labels::{Selector, Written},
};
use muster_store::{ReadAlerts as _, ReadReceivers as _, WriteAlerts as _, WriteDeliveries as _, WriteTx};

use super::{hushed::Hushed, lost::Lost, rules, world::Watched};
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

/// What one look has found.
struct Turn {
    /// Alerts that begin, change or end.
    changes: Vec<Alert>,
    /// Of alerts of many nodes: of which nodes it is so now.
    members: BTreeMap<AlertId, Vec<NodeId>>,
}

/// An alert that is to be written, and what receivers are told with it.
type Change = (Alert, Option<News>);

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
        let turn = self.alert_changes(looked, now).await?;
        let ready = self.with_news(looked, turn, now);
        for some in ready.chunks(STEP) {
            let (some, receivers) = (some.to_vec(), looked.receivers.clone());
            let write = move |tx: &mut WriteTx<'_>| {
                some.iter().try_for_each(|(alert, news)| put(tx, alert, news.as_ref(), &receivers, now))
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

    async fn alert_changes(&self, looked: &mut Looked, now: UnixMillis) -> Result<Turn, Error> {
        let Looked { rules, open, memories, lost, .. } = looked;
        let watched: Vec<Watched<'_>> = rules.iter().filter_map(|rule| self.watched(rule)).collect();
        let mut signs = self.alert_signs(&watched, now).await?;
        for (_, signs) in watched.iter().zip(&mut signs).filter(|(it, _)| it.rule.kind == Kind::ReplicaLost) {
            self.lost_replicas(lost, now, signs).await?;
        }
        let found: Vec<(Watched<'_>, Signs)> = watched.into_iter().zip(signs).collect();
        let (mut changes, mut members) = (ended_otherwise(rules, open, now), BTreeMap::new());
        for (watched, signs) in &found {
            let of_rule = |alert: &&Alert| alert.rule == watched.rule.name && !alert.is_test;
            let own: Vec<Alert> = open.iter().filter(of_rule).cloned().collect();
            let memory = memories.entry(watched.rule.name.clone()).or_default();
            let of_rule = evaluate(watched.rule, signs, &own, memory, AlertId::generate, now);
            members.extend(members_of(own.iter().chain(&of_rule), signs));
            changes.extend(of_rule);
        }
        self.find_causes(&mut changes, &found).await;
        Ok(Turn { changes, members })
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

    pub(super) fn alert_selector(&self, text: &str) -> Option<Selector> {
        Written::parse(text).ok()?.resolve(&self.catalog.now().groups).ok()
    }

    /// The changes, and those alerts whose silence begins or ends, or of which somebody else is to be told
    /// now; with what there is to tell.
    fn with_news(&self, looked: &Looked, turn: Turn, now: UnixMillis) -> Vec<Change> {
        let Turn { changes, members } = turn;
        let hushed = Hushed { app: self, silences: self.silences_now(&looked.silences, now), members };
        let there: BTreeSet<&str> = looked.receivers.iter().map(|it| it.name.as_str()).collect();
        let wanted = looked.rules.iter().map(|rule| (rule.name.as_str(), told(rule, &looked.receivers)));
        let wanted: BTreeMap<&str, Vec<String>> = wanted.collect();
        let known: BTreeSet<AlertId> = changes.iter().map(|alert| alert.id).collect();
        let others = looked.open.iter().filter(|alert| !known.contains(&alert.id));
        let turned = |mut alert: Alert| {
            alert.silence = hushed.by(&alert).filter(|_| alert.ended_at.is_none());
            // One that was made anew under the name of another was told of nothing.
            alert.receivers.retain(|name| there.contains(name.as_str()));
            let wanted = wanted.get(alert.rule.as_str());
            alert.news(wanted.map(Vec::as_slice).unwrap_or_default())
        };
        let others = others.map(|before| (before, turned(before.clone())));
        let others = others.filter(|(before, (after, _))| *before != after).map(|(_, change)| change);
        let changed = changes.into_iter().map(turned);
        changed.chain(others).collect()
    }
}

/// Of alerts of many nodes that are open by now: of which nodes it is so.
fn members_of<'a>(
    alerts: impl Iterator<Item = &'a Alert>,
    signs: &'a Signs,
) -> BTreeMap<AlertId, Vec<NodeId>> {
    let mut groups = BTreeMap::<&str, (AlertId, Vec<NodeId>)>::new();
    for alert in alerts {
        if let Subject::Group(group) = &alert.subject {
            groups.insert(group, (alert.id, Vec::new()));
        }
    }
    if groups.is_empty() {
        return BTreeMap::new();
    }
    for found in &signs.found {
        if let (Some((_, nodes)), Subject::Node(node)) =
            (groups.get_mut(found.group.as_str()), &found.subject)
        {
            nodes.push(*node);
        }
    }
    groups.into_values().collect()
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
pub(super) fn told(rule: &Rule, receivers: &[Receiver]) -> Vec<String> {
    let names = receivers.iter().map(|receiver| &receiver.name);
    let is_told = |name: &&String| rule.receivers.is_empty() || rule.receivers.contains(name);
    names.filter(is_told).cloned().collect()
}

/// Writes an alert down with what there is to tell of it, unless another has changed it meanwhile.
/// What is open an Alertmanager is told as long as it is: that needs no delivery.
pub(super) fn put(
    tx: &mut WriteTx<'_>,
    alert: &Alert,
    news: Option<&News>,
    receivers: &[Receiver],
    now: UnixMillis,
) -> Result<(), Error> {
    if !tx.alert_put(alert)? {
        return Ok(());
    }
    turned(alert).map_or(Ok(()), |what| events::tell(tx, what))?;
    let Some(news) = news else { return Ok(()) };
    let is_delivered = |it: &&Receiver| it.target == Target::Webhook || news.event == Event::Resolved;
    for receiver in receivers.iter().filter(|it| news.to.contains(&it.name)).filter(is_delivered) {
        tx.delivery_put(&Delivery {
            id: DeliveryId::generate(),
            receiver: receiver.name.clone(),
            alert: alert.id,
            event: news.event,
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
