//! Events as they are written.

use std::time::Duration;

use muster_common::clock::Instant;
use muster_domain::access::Scope;
use muster_proto::admin::v1::{self as pb, watch_events_response::What};

use crate::{
    api::{
        status,
        watch::{self, Gone, Out, Watch},
        wire,
    },
    app::{
        App,
        events::{Asked, Seen},
    },
};

/// A watcher with nothing to hear hears at least this often that the stream is alive.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

type Response = pb::WatchEventsResponse;

pub(super) fn start(
    app: &App,
    scope: Scope,
    asked: Asked,
    parts: Vec<String>,
    from: Seen,
) -> Watch<Response> {
    let watched = app.clone();
    watch::start(&app.tasks, move |out| async move {
        let _ = follow(&watched, &scope, &asked, &parts, from, &out).await;
    })
}

async fn follow(
    app: &App,
    scope: &Scope,
    asked: &Asked,
    parts: &[String],
    from: Seen,
    out: &Out<Response>,
) -> Result<(), Gone> {
    let bound: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut committed = app.store.committed();
    let mut seen = from;
    let mut told: Option<Instant> = None; // when the last bookmark was sent; none since the last event
    loop {
        // Before the look: what is committed after it wakes us again.
        committed.mark_unchanged();
        let news = match app.event_news(scope, asked, seen).await {
            Ok(news) => news,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        for event in &news.events {
            told = None;
            let place = Seen { revision: event.revision, event: Some(event.id) };
            let resume_token = app.event_token(&bound, place);
            out.send(Response { what: Some(What::Event(wire::event::event(event))), resume_token }).await?;
        }
        seen = news.reached;
        if !news.is_all {
            tokio::select! {
                biased;
                () = out.closed() => return Err(Gone),
                () = app.drain.begun() => return Ok(()),
                () = std::future::ready(()) => continue,
            }
        }
        let now = app.clock.monotonic();
        if told.is_none_or(|told| now - told >= BOOKMARK_EVERY) {
            let resume_token = app.event_token(&bound, seen);
            out.send(Response { what: Some(What::Bookmark(pb::Bookmark {})), resume_token }).await?;
            told = Some(now);
        }
        tokio::select! {
            () = out.closed() => return Err(Gone),
            () = app.drain.begun() => return Ok(()),
            () = watch::changed(&mut committed) => {}
            () = tokio::time::sleep(BOOKMARK_EVERY) => {}
        }
    }
}
