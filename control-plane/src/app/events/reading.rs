//! Events as callers see them.

use muster_common::ids::EventId;
use muster_domain::{
    access::Scope,
    event::{Event, Filter},
    labels::Selector,
    page::{Listed, Page},
};
use muster_store::{Below, ReadEvents as _};

use crate::app::{App, Error};

/// Events read in one go where not all of them may be shown.
const PIECE: u32 = 1000;
/// Pieces that are looked through for one page.
const PIECES: usize = 5;

/// What someone asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// By what the store knows.
    pub filter: Filter,
    /// Of nodes that match now.
    pub selector: Option<Selector>,
}

impl App {
    /// A page of events, the newest first. It may be short, or empty, and not the last.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    pub async fn events(&self, scope: &Scope, page: &Page, asked: &Asked) -> Result<Listed<Event>, Error> {
        let mut below = page.after.as_deref().map(place_from).transpose()?;
        let size = page.size as usize;
        let is_all_shown = scope.is_whole() && asked.selector.is_none();
        let piece = if is_all_shown { page.size.saturating_add(1) } else { PIECE };
        let mut rows: Vec<Event> = Vec::new();
        for _ in 0..PIECES {
            let filter = asked.filter.clone();
            let read =
                self.store.read(move |tx| tx.event_list(&filter, below, piece).map_err(Error::from)).await?;
            let is_end = read.len() < piece as usize;
            for event in read {
                if rows.len() == size {
                    return Ok(Listed { rows, next: below.map(key) });
                }
                below = Some((event.at, event.id));
                if self.shows_event(scope, asked.selector.as_ref(), &event) {
                    rows.push(event);
                }
            }
            if is_end {
                return Ok(Listed { rows, next: None });
            }
        }
        Ok(Listed { rows, next: below.map(key) })
    }

    /// One event.
    ///
    /// # Errors
    /// If it does not exist, for this scope.
    pub async fn event(&self, scope: &Scope, id: EventId) -> Result<Event, Error> {
        let found = self.store.read(move |tx| tx.event_get(id).map_err(Error::from)).await?;
        let shown = found.filter(|event| self.shows_event(scope, None, event));
        shown.ok_or_else(|| Error::not_found("event", &id))
    }

    /// Whether a caller is shown an event: of a node that it sees, or any with every node in scope.
    pub(super) fn shows_event(&self, scope: &Scope, selector: Option<&Selector>, event: &Event) -> bool {
        let is_any = scope.is_whole() && selector.is_none();
        let matches = |node| {
            self.fleet.with(node, |entry| {
                let node = &entry.node;
                scope.sees(node) && selector.is_none_or(|it| it.matches(&node.labels, &node.facts))
            })
        };
        is_any || event.node.and_then(matches).unwrap_or(false)
    }
}

/// Where a list goes on that ended with this event.
#[must_use]
pub fn key_of(event: &Event) -> String {
    key((event.at, event.id))
}

fn key((at, id): Below) -> String {
    format!("{}/{id}", at.0)
}

fn place_from(key: &str) -> Result<Below, Error> {
    let parsed = key.split_once('/').and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
    let (at, id) = parsed.ok_or_else(|| muster_store::Error::PageKey(key.chars().take(80).collect()))?;
    Ok((muster_common::clock::UnixMillis(at), id))
}
