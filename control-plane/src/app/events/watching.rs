//! Events for those who watch them: in the order of writes, so that nothing is missed and nothing
//! comes twice.

use std::time::Duration;

use muster_common::{digest::Sha256, ids::EventId, reason::Reason};
use muster_domain::{
    access::Scope,
    event::{Event, Filter},
    page,
};
use muster_store::{ReadEvents as _, ReadMeta as _};

use super::reading::Asked;
use crate::app::{App, Error, watch::not_any_more};

/// Events read in one go.
const BATCH: u32 = 100;
const METHOD: &str = "WatchEvents";
/// How long a look waits until memory knows the nodes of what was written.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// How far a watcher has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// All of the writes before this one, and of it
    pub revision: u64,
    /// what comes up to this event. `None`: all.
    pub event: Option<EventId>,
}

/// What was written since.
#[derive(Debug)]
pub struct News {
    /// In the order of writes, as far as they are the watcher's to see.
    pub events: Vec<Event>,
    /// Up to here nothing is missing.
    pub reached: Seen,
    /// There is no more now.
    pub is_all: bool,
}

impl App {
    /// What was written since, and is wanted.
    ///
    /// # Errors
    /// If the caller may not look any more, some of it is kept no more, or the store fails.
    pub async fn event_news(&self, scope: &Scope, asked: &Asked, after: Seen) -> Result<News, Error> {
        let scope = self.access.scope_now(scope, false).ok_or_else(not_any_more)?;
        let filter = asked.filter.clone();
        let read = self.store.read(move |tx| {
            if is_pruned(after, tx.event_floor()?) {
                return Err(expired("the watch fell behind what is kept"));
            }
            let newest = tx.revision()?;
            Ok((newest, tx.event_after(&filter, (after.revision, after.event), BATCH)?))
        });
        let (newest, mut events) = read.await?;
        let asks_nodes = !scope.is_whole() || asked.selector.is_some();
        if asks_nodes && !events.is_empty() && !self.feed.reached(newest, KNOWN_WITHIN).await {
            // Memory does not know yet whose they are: they are read again.
            return Ok(News { events: Vec::new(), reached: after, is_all: true });
        }
        let is_all = events.len() < BATCH as usize;
        let last = events.last().map(|last| Seen { revision: last.revision, event: Some(last.id) });
        let newest = Seen { revision: newest.max(after.revision), event: None };
        let reached = if is_all { newest } else { last.unwrap_or(newest) };
        events.retain(|event| self.shows_event(&scope, asked.selector.as_ref(), event));
        Ok(News { events, reached, is_all })
    }

    /// Where a watch begins that has no token: with what happened since the filter's time, or with
    /// what comes.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn event_start(&self, filter: &Filter) -> Result<Seen, Error> {
        let since = filter.since;
        let read = self.store.read(move |tx| {
            let first = match since {
                Some(since) => tx.event_since(since)?,
                None => None,
            };
            let newest = tx.revision()?;
            Ok::<_, Error>(first.map_or(newest, |first| first.saturating_sub(1)).max(tx.event_floor()?))
        });
        Ok(Seen { revision: read.await?, event: None })
    }

    /// The token for going on from there.
    #[must_use]
    pub fn event_token(&self, asked: &[&str], seen: Seen) -> String {
        let event = seen.event.map(|id| id.to_string()).unwrap_or_default();
        let key = format!("{}.{}.{event}", self.fixed.history.epoch, seen.revision);
        page::encode_token(fingerprint(asked), &key)
    }

    /// Where a token goes on.
    ///
    /// # Errors
    /// If it is not one for this request, is of another history, or some of what came after it is
    /// kept no more.
    pub async fn event_resume(&self, asked: &[&str], token: &str) -> Result<Seen, Error> {
        let invalid = |what: &str| Error::invalid("resume_token", what);
        let key =
            page::decode_token(token, fingerprint(asked)).map_err(|error| invalid(&error.to_string()))?;
        let (epoch, seen) = parsed(&key).ok_or_else(|| invalid("it is not one that this server gave out"))?;
        let read = self.store.read(|tx| Ok::<_, Error>((tx.revision()?, tx.event_floor()?)));
        let (newest, floor) = read.await?;
        if epoch != self.fixed.history.epoch || seen.revision > newest {
            return Err(expired("the resume token is of another history"));
        }
        if is_pruned(seen, floor) {
            return Err(expired("the resume token is older than what is kept"));
        }
        Ok(seen)
    }
}

/// Whether something may have been taken away that was not seen yet.
fn is_pruned(seen: Seen, floor: u64) -> bool {
    seen.revision < floor || seen.revision == floor && seen.event.is_some()
}

fn parsed(key: &str) -> Option<(u64, Seen)> {
    let mut parts = key.splitn(3, '.');
    let (epoch, revision) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let event = match parts.next()? {
        "" => None,
        id => Some(id.parse().ok()?),
    };
    Some((epoch, Seen { revision, event }))
}

fn expired(why: &str) -> Error {
    Error::refused(Reason::ResumeTokenExpired, format!("{why}; list what you need and watch from now on"))
}

fn fingerprint(asked: &[&str]) -> Sha256 {
    page::fingerprint(METHOD, asked)
}
