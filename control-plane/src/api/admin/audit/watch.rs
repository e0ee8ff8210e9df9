//! Entries as they are written.

use std::time::Duration;

use muster_common::clock::Instant;
use muster_domain::{access::Scope, audit::Filter};
use muster_proto::admin::v1::{self as pb, watch_audit_entries_response::Event};

use crate::{
    api::{
        status,
        watch::{self, Gone, Out, Watch},
        wire,
    },
    app::App,
};

/// A watcher with nothing to hear hears at least this often that the stream is alive.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// A refusal alone is no change that anyone is woken for: this is how late a
/// watcher may see it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Response = pb::WatchAuditEntriesResponse;

pub(super) fn start(app: &App, scope: Scope, filter: Filter, from: u64) -> Watch<Response> {
    let watched = app.clone();
    watch::start(&app.tasks, move |out| async move {
        let _ = follow(&watched, &scope, &filter, from, &out).await;
    })
}

async fn follow(
    app: &App,
    scope: &Scope,
    filter: &Filter,
    from: u64,
    out: &Out<Response>,
) -> Result<(), Gone> {
    let mut committed = app.store.committed();
    let mut place = from;
    let mut told: Option<Instant> = None; // when the last bookmark was sent; none since the last entry
    loop {
        // Before the look: what is committed after it wakes us again.
        committed.mark_unchanged();
        let news = match app.audit_news(scope, filter, place).await {
            Ok(news) => news,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        for entry in &news.entries {
            told = None;
            let resume_token = app.audit_token(filter, entry.0);
            out.send(Response { event: Some(Event::Entry(wire::audit::entry(entry))), resume_token }).await?;
        }
        place = news.reached;
        if !news.is_all {
            continue;
        }
        let now = app.clock.monotonic();
        if told.is_none_or(|told| now - told >= BOOKMARK_EVERY) {
            let resume_token = app.audit_token(filter, place);
            out.send(Response { event: Some(Event::Bookmark(pb::Bookmark {})), resume_token }).await?;
            told = Some(now);
        }
        tokio::select! {
            () = out.closed() => return Err(Gone),
            () = app.drain.begun() => return Ok(()),
            () = watch::changed(&mut committed) => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
