//! Pages that are told of news: an answer that stays open, and says what is to take the place of
//! a part of the page (`text/event-stream`). A browser that was cut off comes again by itself.

use std::{collections::BTreeMap, convert::Infallible, future::Future, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use muster_common::{clock::Instant, reason::Reason, tasks::Kind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{answer::Problem, visit::Visit};
use crate::app::App;

/// After so long without news a line is sent all the same: what is between would close a
/// connection that is silent for long.
const QUIET: Duration = Duration::from_secs(15);
/// Messages that wait for a slow browser; the next look waits for room.
const ROOM: usize = 2;

type Line = Result<Bytes, Infallible>;

/// Where a page is told of news.
pub(super) struct Live {
    out: mpsc::Sender<Line>,
    /// What was told last, of each kind.
    told: BTreeMap<&'static str, String>,
    spoke: Instant,
}

/// Nobody listens any more, or nobody is to be told any more.
pub(super) struct Gone;

/// Opens one, as a watch of its caller. `follow` tells until it is over.
///
/// # Errors
/// If the caller has too many.
pub(super) fn open<F>(visit: Visit, follow: impl FnOnce(Visit, Live) -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let watching = visit.console.gate.watches.open(&visit.caller.name()).ok_or_else(|| {
        let text = "too many pages that are told of news; close one";
        Problem::later(Reason::RateLimited, text, Duration::from_secs(5))
    })?;
    let (out, body) = mpsc::channel(ROOM);
    let app = visit.console.app.clone();
    let live = Live { out, told: BTreeMap::new(), spoke: app.clock.monotonic() };
    let follow = follow(visit, live);
    app.tasks.spawn("watch", Kind::BestEffort, async move {
        let _watching = watching;
        let _ = follow.await; // whoever is gone needs no word
    });
    let body = Body::from_stream(ReceiverStream::new(body));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

impl Live {
    /// Tells one thing, if it is another than was told last.
    pub(super) async fn tell(&mut self, app: &App, name: &'static str, text: String) -> Result<(), Gone> {
        if self.told.get(name) == Some(&text) {
            return Ok(());
        }
        self.send(app, event(name, &text)).await?;
        self.told.insert(name, text);
        Ok(())
    }

    /// Waits for news, or for as long as the caller will.
    pub(super) async fn rest(&mut self, app: &App, news: impl Future<Output = ()>) -> Result<(), Gone> {
        if app.clock.monotonic() - self.spoke >= QUIET {
            self.send(app, ":\n\n".to_owned()).await?;
        }
        tokio::select! {
            () = self.out.closed() => Err(Gone),
            () = app.drain.begun() => Err(Gone),
            () = news => Ok(()),
        }
    }

    async fn send(&mut self, app: &App, line: String) -> Result<(), Gone> {
        self.out.send(Ok(line.into())).await.map_err(|_| Gone)?;
        self.spoke = app.clock.monotonic();
        Ok(())
    }
}

/// One event; its data is as many lines as the text has.
fn event(name: &str, text: &str) -> String {
    let data: Vec<String> = text.split(['\n', '\r']).map(|line| format!("data: {line}\n")).collect();
    format!("event: {name}\n{}\n", data.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_cannot_become_an_event_of_its_own() {
        let told = event("progress", "one\nevent: end\r\ndata: x");
        assert_eq!(told, "event: progress\ndata: one\ndata: event: end\ndata: \ndata: data: x\n\n");
    }
}
