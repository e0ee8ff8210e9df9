//! Alerts: rules that people write, what is found by them, who is told of it, and when not.
//!
//! One replica looks, and one tells. What is to be told is written down together with the alert
//! that it is about: nothing is lost by a process that ends, and what was not answered is told again.

mod board;
mod body;
mod causes;
mod deliver;
mod hushed;
mod look;
mod lost;
mod manager;
mod reading;
mod receivers;
mod silences;
mod world;

use std::time::Duration;

use muster_common::{clock::UnixMillis, reason::Reason};
use muster_domain::{
    alert::{Damping, Kind, MAX_RULES, MOST, Rule, Severity, built_in, is_built_in},
    audit::Note,
    group::is_description,
    item::is_resource_name,
};
use muster_store::{ReadAlerts, ReadReceivers as _, WriteAlerts as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error, check_etag, selectors};

pub use board::{Board, Mark};
pub use deliver::{TELLS, Telling};
pub use look::Looked;
pub use receivers::Wish as ReceiverWish;
pub use silences::Wish as SilenceWish;

/// The longest time within which many are one.
const WITHIN: Duration = Duration::from_secs(3600);

/// A rule as someone wants it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// For people.
    pub description: String,
    /// What is looked for.
    pub kind: Kind,
    /// On which nodes.
    pub selector: String,
    /// So long before an end.
    pub threshold: Option<Duration>,
    /// For this long.
    pub hold: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// Who is told.
    pub receivers: Vec<String>,
    /// It leads to nothing.
    pub disabled: bool,
    /// When many are one. `None`: as usual.
    pub damping: Option<Damping>,
    /// Of the reading it was made from.
    pub etag: String,
}

impl App {
    /// Makes a rule, or answers the equal one that is there.
    ///
    /// # Errors
    /// If it cannot be, its name is taken, or there are too many.
    pub async fn create_alert_rule(&self, actor: &Actor, wish: Wish) -> Result<Rule, Error> {
        let wished = check(&wish, actor, self.clock.now())?;
        self.commit(actor.stamp("alerts.create-rule", wished.created_at), move |tx| {
            check_names(tx, &wished)?;
            match rule_of(tx, &wished.name)? {
                Some(same) if is_equal(&same, &wished) => return Ok(same),
                Some(_) => {
                    let message = format!("rule {:?} exists with other content", wished.name);
                    return Err(Error::refused(Reason::AlreadyExists, message));
                }
                None if tx.alert_rule_all()?.len() >= MAX_RULES => {
                    let message = format!("there are {MAX_RULES} rules; more are not kept");
                    return Err(Error::refused(Reason::QuotaExceeded, message));
                }
                None => {}
            }
            put(tx, None, &wished)
        })
        .await
    }

    /// Replaces a rule.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, looks for something else, or cannot be.
    pub async fn update_alert_rule(&self, actor: &Actor, wish: Wish) -> Result<Rule, Error> {
        let wished = check(&wish, actor, self.clock.now())?;
        self.commit(actor.stamp("alerts.update-rule", wished.updated_at), move |tx| {
            check_names(tx, &wished)?;
            let before = rule_of(tx, &wished.name)?.ok_or_else(|| Error::not_found("rule", &wished.name))?;
            check_etag(&wish.etag, before.revision)?;
            if before.kind != wished.kind {
                return Err(Error::invalid("rule.kind", "a rule keeps its kind; make another rule"));
            }
            if is_equal(&before, &wished) {
                return Ok(before);
            }
            let created_at = if before.revision == 0 { wished.created_at } else { before.created_at };
            put(tx, Some(&before), &Rule { created_at, ..wished.clone() })
        })
        .await
    }

    /// One rule.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn alert_rule(&self, name: String) -> Result<Rule, Error> {
        let found = self.store.read(move |tx| Ok::<_, Error>((rule_of(tx, &name)?, name))).await?;
        found.0.ok_or_else(|| Error::not_found("rule", &found.1))
    }

    /// All rules, by name.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn alert_rules(&self) -> Result<Vec<Rule>, Error> {
        self.store.read(|tx| rules(tx).map_err(Error::from)).await
    }

    /// Takes a rule away; one that is built in is as it came.
    ///
    /// # Errors
    /// If it does not exist, or was changed since it was read.
    pub async fn delete_alert_rule(&self, actor: &Actor, name: String, etag: String) -> Result<(), Error> {
        self.commit(actor.stamp("alerts.delete-rule", self.clock.now()), move |tx| {
            let before = rule_of(tx, &name)?.ok_or_else(|| Error::not_found("rule", &name))?;
            check_etag(&etag, before.revision)?;
            if tx.alert_rule_delete(&name)? {
                let subject = format!("alert-rule/{name}");
                tx.audit(Note { subject, before: shown(&before), ..Note::default() })?;
            }
            Ok(())
        })
        .await
    }
}

/// All rules, by name: what was written, and what is built in and was not.
fn rules<T: ReadAlerts>(tx: &mut T) -> Result<Vec<Rule>, muster_store::Error> {
    let mut rules = tx.alert_rule_all()?;
    let is_new = |rule: &Rule| !rules.iter().any(|written| written.name == rule.name);
    let as_they_came: Vec<Rule> = built_in().into_iter().filter(is_new).collect();
    rules.extend(as_they_came);
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rules)
}

fn rule_of<T: ReadAlerts>(tx: &mut T, name: &str) -> Result<Option<Rule>, Error> {
    let written = tx.alert_rule_get(name)?;
    Ok(written.or_else(|| built_in().into_iter().find(|rule| rule.name == name)))
}

fn put(tx: &mut WriteTx<'_>, before: Option<&Rule>, after: &Rule) -> Result<Rule, Error> {
    tx.alert_rule_put(after)?;
    tx.audit(Note {
        subject: format!("alert-rule/{}", after.name),
        before: before.map_or_else(String::new, shown),
        after: shown(after),
        denied: false,
    })?;
    Ok(Rule { revision: tx.revision(), ..after.clone() })
}

/// Refuses names of what is not there.
fn check_names(tx: &mut WriteTx<'_>, rule: &Rule) -> Result<(), Error> {
    for (at, name) in rule.receivers.iter().enumerate() {
        if tx.receiver_get(name)?.is_none() {
            return Err(Error::invalid(
                format!("rule.receivers[{at}]"),
                format!("there is no receiver {name:?}"),
            ));
        }
    }
    if rule.kind.is_of_nodes() {
        let written = selectors::written("rule.selector", &rule.selector)?;
        selectors::resolved("rule.selector", &written, &selectors::groups(tx)?)?;
    }
    Ok(())
}

/// The rule that would be stored, if it can be.
fn check(wish: &Wish, actor: &Actor, now: UnixMillis) -> Result<Rule, Error> {
    if !is_resource_name(&wish.name) {
        let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", wish.name);
        return Err(Error::invalid("rule.name", message));
    }
    if !is_description(&wish.description) {
        return Err(Error::invalid("rule.description", "at most 1024 bytes, without control characters"));
    }
    if wish.receivers.len() > MAX_RULES {
        return Err(Error::invalid("rule.receivers", format!("at most {MAX_RULES}; none is every receiver")));
    }
    if wish.hold > MOST {
        return Err(Error::invalid("rule.hold", "at most 365 days"));
    }
    if wish.kind.is_of_nodes() {
        selectors::written("rule.selector", &wish.selector)?;
    } else if !wish.selector.is_empty() {
        return Err(Error::invalid("rule.selector", "leave it out: this kind is about no node"));
    }
    let damping = wish.damping.clone().unwrap_or_default();
    check_damping(&damping)?;
    Ok(Rule {
        name: wish.name.clone(),
        description: wish.description.clone(),
        kind: wish.kind,
        selector: wish.selector.clone(),
        threshold: threshold(wish)?,
        hold: wish.hold,
        severity: wish.severity,
        receivers: wish.receivers.clone(),
        disabled: wish.disabled,
        damping,
        created_at: now,
        updated_at: now,
        updated_by: actor.principal.clone(),
        revision: 0,
    })
}

fn threshold(wish: &Wish) -> Result<Duration, Error> {
    let invalid = |message| Err(Error::invalid("rule.threshold", message));
    match (wish.kind.has_threshold(), wish.threshold) {
        (true, Some(time)) if (Duration::from_secs(1)..=MOST).contains(&time) => Ok(time),
        (true, _) => invalid("say how long before the end, at most 365 days"),
        (false, None | Some(Duration::ZERO)) => Ok(Duration::ZERO),
        (false, Some(_)) => invalid("leave it out: nothing ends here; for how long it must be so is `hold`"),
    }
}

fn check_damping(damping: &Damping) -> Result<(), Error> {
    if damping.percent > 100 {
        return Err(Error::invalid("rule.damping.percent", "at most 100"));
    }
    if damping.within > WITHIN {
        return Err(Error::invalid("rule.damping.within", "at most one hour"));
    }
    let label = [(damping.by.clone(), String::new())].into_iter().collect();
    if !damping.by.is_empty() {
        let checked = muster_domain::labels::check_labels(&label);
        checked.map_err(|error| Error::invalid("rule.damping.by", error.to_string()))?;
    }
    Ok(())
}

/// Whether both lead to the same, whoever wrote them when.
fn is_equal(one: &Rule, other: &Rule) -> bool {
    let timeless = |it: &Rule| Rule {
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        updated_by: String::new(),
        revision: 0,
        ..it.clone()
    };
    timeless(one) == timeless(other)
}

fn shown(rule: &Rule) -> String {
    json!({
        "kind": rule.kind,
        "selector": rule.selector,
        "threshold_s": rule.threshold.as_secs(),
        "hold_s": rule.hold.as_secs(),
        "severity": rule.severity,
        "receivers": rule.receivers,
        "disabled": rule.disabled,
        "damping": rule.damping,
        "built_in": is_built_in(&rule.name),
    })
    .to_string()
}
