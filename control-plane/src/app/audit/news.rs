//! The audit for those who watch it: by place, so that nothing is missed and
//! nothing comes twice. Places are given under the lock of the commit.

use muster_common::reason::Reason;
use muster_domain::{
    access::Scope,
    audit::{Entry, Filter, Placed},
    page,
};
use muster_store::ReadAudit as _;

use crate::app::{App, Error, watch::not_any_more};

/// Entries read in one go.
const BATCH: u32 = 100;
const METHOD: &str = "WatchAuditEntries";

/// What was written since a place.
#[derive(Debug)]
pub struct News {
    /// In the order of commits.
    pub entries: Vec<Placed<Entry>>,
    /// Up to and with this place nothing is missing.
    pub reached: u64,
    /// There is no more now.
    pub is_all: bool,
}

impl App {
    /// What was written after a place and is wanted.
    ///
    /// # Errors
    /// If the caller may not look any more, or the store fails.
    pub async fn audit_news(&self, scope: &Scope, filter: &Filter, after: u64) -> Result<News, Error> {
        self.access.scope_now(scope, true).ok_or_else(not_any_more)?;
        let filter = filter.clone();
        self.store
            .read(move |tx| {
                let newest = tx.audit_place()?;
                let entries = tx.audit_after(after, &filter, BATCH)?;
                let is_all = entries.len() < BATCH as usize;
                let last = entries.last().map_or(after, |(place, _)| *place);
                Ok(News { entries, reached: if is_all { newest.max(last) } else { last }, is_all })
            })
            .await
    }

    /// Where a watch begins that has no token: with the first entry of the
    /// filter's time, or with the next one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_start(&self, filter: &Filter) -> Result<u64, Error> {
        let filter = filter.clone();
        self.store
            .read(move |tx| {
                let since = match filter.since {
                    Some(_) => tx.audit_window(&filter)?,
                    None => None,
                };
                match since {
                    Some((first, _)) => Ok(first.saturating_sub(1)),
                    None => tx.audit_place().map_err(Error::from),
                }
            })
            .await
    }

    /// The token for going on after a place.
    #[must_use]
    pub fn audit_token(&self, filter: &Filter, place: u64) -> String {
        page::encode_token(fingerprint(filter), &format!("{}.{place}", self.fixed.history.epoch))
    }

    /// The place that a token stands for.
    ///
    /// # Errors
    /// If it is not one for this filter, or of another history.
    pub async fn audit_resume(&self, filter: &Filter, token: &str) -> Result<u64, Error> {
        let invalid = |what: &str| Error::invalid("resume_token", what);
        let key =
            page::decode_token(token, fingerprint(filter)).map_err(|error| invalid(&error.to_string()))?;
        let place = key
            .split_once('.')
            .and_then(|(epoch, place)| Some((epoch.parse::<u64>().ok()?, place.parse::<u64>().ok()?)));
        let (epoch, place) = place.ok_or_else(|| invalid("it is not one that this server gave out"))?;
        let newest = self.store.read(|tx| tx.audit_place().map_err(Error::from)).await?;
        if epoch != self.fixed.history.epoch || place > newest {
            let what = "the resume token is of another history; list what you need and watch from now on";
            return Err(Error::refused(Reason::ResumeTokenExpired, what));
        }
        Ok(place)
    }
}

fn fingerprint(filter: &Filter) -> muster_common::digest::Sha256 {
    let parts = filter.parts();
    page::fingerprint(METHOD, &parts.each_ref().map(String::as_str))
}
