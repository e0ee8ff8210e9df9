//! Times in which nobody is told of some alerts.

use muster_common::{clock::UnixMillis, ids::SilenceId, reason::Reason};
use muster_domain::{
    alert::{MAX_SILENCES, MOST, Silence},
    audit::Note,
    group::is_description,
};
use muster_store::{ReadAlerts as _, WriteAlerts as _, WriteTx};
use serde_json::json;

use super::rule_of;
use crate::app::{Actor, App, Error, selectors};

/// A silence as someone wants it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Of this rule alone; empty: of any.
    pub rule: String,
    /// About these nodes alone; empty: about anything.
    pub selector: String,
    /// From; `None`: now.
    pub starts_at: Option<UnixMillis>,
    /// Until.
    pub ends_at: UnixMillis,
    /// For people.
    pub comment: String,
}

impl App {
    /// Makes a silence.
    ///
    /// # Errors
    /// If it cannot be, or there are too many.
    pub async fn silence_alerts(&self, actor: &Actor, wish: Wish) -> Result<Silence, Error> {
        let (now, id, by) = (self.clock.now(), SilenceId::generate(), actor.principal.clone());
        check(&wish, now)?;
        self.commit(actor.stamp("alerts.silence", now), move |tx| {
            check_names(tx, &wish, now)?;
            let silence = Silence {
                id,
                rule: wish.rule.clone(),
                selector: wish.selector.clone(),
                starts_at: wish.starts_at.unwrap_or(now),
                ends_at: wish.ends_at,
                comment: wish.comment.clone(),
                created_by: by.clone(),
                created_at: now,
                revision: tx.revision(),
            };
            put(tx, None, &silence)?;
            Ok(silence)
        })
        .await
    }

    /// All silences, by age.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn silences(&self) -> Result<Vec<Silence>, Error> {
        self.store.read(|tx| tx.silence_all().map_err(Error::from)).await
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// If there is none.
    pub async fn expire_silence(&self, actor: &Actor, id: SilenceId) -> Result<Silence, Error> {
        let now = self.clock.now();
        self.commit(actor.stamp("alerts.expire-silence", now), move |tx| {
            let before = tx.silence_get(id)?.ok_or_else(|| Error::not_found("silence", &id))?;
            if before.ends_at <= now {
                return Ok(before);
            }
            let starts_at = before.starts_at.min(now);
            let after = Silence { starts_at, ends_at: now, revision: tx.revision(), ..before.clone() };
            put(tx, Some(&before), &after)?;
            Ok(after)
        })
        .await
    }
}

fn check(wish: &Wish, now: UnixMillis) -> Result<(), Error> {
    if !is_description(&wish.comment) {
        return Err(Error::invalid("silence.comment", "at most 1024 bytes, without control characters"));
    }
    let starts_at = wish.starts_at.unwrap_or(now);
    if wish.ends_at <= now || wish.ends_at <= starts_at || wish.ends_at > now + MOST {
        let message = "it must be after start_time and after now, and at most 365 days from now";
        return Err(Error::invalid("silence.end_time", message));
    }
    if !wish.selector.is_empty() {
        selectors::written("silence.selector", &wish.selector)?;
    }
    Ok(())
}

fn check_names(tx: &mut WriteTx<'_>, wish: &Wish, now: UnixMillis) -> Result<(), Error> {
    let not_over = tx.silence_all()?.iter().filter(|it| it.ends_at > now).count();
    if not_over >= MAX_SILENCES {
        let message = format!("there are {MAX_SILENCES} silences that have not ended; more are not kept");
        return Err(Error::refused(Reason::QuotaExceeded, message));
    }
    if !wish.rule.is_empty() && rule_of(tx, &wish.rule)?.is_none() {
        return Err(Error::invalid("silence.rule", format!("there is no rule {:?}", wish.rule)));
    }
    if !wish.selector.is_empty() {
        let written = selectors::written("silence.selector", &wish.selector)?;
        selectors::resolved("silence.selector", &written, &selectors::groups(tx)?)?;
    }
    Ok(())
}

fn put(tx: &mut WriteTx<'_>, before: Option<&Silence>, after: &Silence) -> Result<(), Error> {
    tx.silence_put(after)?;
    tx.audit(Note {
        subject: format!("silence/{}", after.id),
        before: before.map_or_else(String::new, shown),
        after: shown(after),
        denied: false,
    })?;
    Ok(())
}

fn shown(silence: &Silence) -> String {
    json!({
        "rule": silence.rule,
        "selector": silence.selector,
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "comment": silence.comment,
    })
    .to_string()
}
