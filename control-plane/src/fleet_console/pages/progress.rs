//! How a rollout stands, told to the page that shows it whenever that changes.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use maud::{Markup, html};
use muster_common::{ids::RolloutId, reason::Reason, tasks::Kind};
use muster_domain::rollout::Hold;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::rollout::METHOD;
use crate::{
    app::rollouts::{RolloutWatch, Seen},
    fleet_console::{answer::Problem, visit::Visit, words},
};

/// Between looks at what was seen, and at whether whoever listens still may.
const LOOK: Duration = Duration::from_millis(500);
/// Looks without news after which a line is sent all the same: what is between would close
/// a connection that is silent for long.
const QUIET: u32 = 30;
/// Messages that wait for a slow browser; the next look waits for room.
const ROOM: usize = 2;

type Line = Result<Bytes, Infallible>;

/// `text/event-stream`: `progress` with what takes the place of the page's part, and `end`
/// when there will be no more. A browser that was cut off comes again by itself.
pub(in crate::fleet_console) async fn events(
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let scope = visit.may(METHOD)?;
    let id: RolloutId = id.parse().map_err(|_| Problem::no_such("rollout", &id))?;
    let rollout = visit.console.app.watch_rollout(&scope, id).await?;
    let watching = visit.console.gate.watches.open(&visit.caller.name());
    let watching = watching.ok_or_else(|| {
        let text = "too many pages that are told of news; close one";
        Problem::later(Reason::RateLimited, text, Duration::from_secs(5))
    })?;
    let (out, body) = mpsc::channel(ROOM);
    let tasks = visit.console.app.tasks.clone();
    tasks.spawn("watch", Kind::BestEffort, async move {
        let _watching = watching;
        follow(&visit, rollout, &out).await;
    });
    let body = Body::from_stream(ReceiverStream::new(body));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// Tells until it is over, nobody listens, or whoever listens may not any more.
async fn follow(visit: &Visit, mut rollout: RolloutWatch, out: &mpsc::Sender<Line>) {
    let (app, mut last, mut quiet) = (&visit.console.app, String::new(), 0);
    loop {
        let Ok(scope) = visit.judge(METHOD) else { return };
        // A store that fails for a moment: the browser comes again.
        let Ok(seen) = rollout.look(&scope).await else { return };
        quiet += 1;
        let line = match seen.as_ref().map(|seen| shown(seen).into_string()).filter(|now| *now != last) {
            Some(now) => {
                last = now;
                event("progress", &last)
            }
            None if quiet >= QUIET => ":\n\n".to_owned(),
            None => String::new(),
        };
        if !line.is_empty() {
            quiet = 0;
            if out.send(Ok(line.into())).await.is_err() {
                return;
            }
        }
        if seen.is_some_and(|seen| seen.rollout.phase.is_over()) {
            let _ = out.send(Ok(event("end", "").into())).await; // nobody may be there any more
            return;
        }
        tokio::select! {
            () = out.closed() => return,
            () = app.drain.begun() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// One event; its data is as many lines as the text has.
fn event(name: &str, text: &str) -> String {
    let data: Vec<String> = text.split(['\n', '\r']).map(|line| format!("data: {line}\n")).collect();
    format!("event: {name}\n{}\n", data.concat())
}

/// The part of the page.
pub(super) fn shown(seen: &Seen) -> Markup {
    let (it, tally) = (&seen.rollout, &seen.tally);
    let mut pairs = vec![
        ("Phase", html! { strong { (it.phase.as_str()) } " " (it.reason) }),
        ("Since", words::time(it.since)),
        ("Step", html! { (it.step + 1) " of " (it.plan.steps.len()) }),
        ("Touched", html! { (tally.touched) " of " (tally.total) }),
        ("Done", html! { (tally.done) }),
        ("Without an answer", html! { (tally.waiting) }),
        ("Failed", html! { span.bad[tally.failed > 0] { (tally.failed) } }),
        ("Do not take part", html! { (tally.excused) }),
    ];
    if let Some(hold) = &seen.waits_for {
        pairs.push(("Waits for", held(hold)));
    }
    if let Some(at) = seen.opens_at {
        pairs.push(("A window opens", words::time(at)));
    }
    html! {
        label {
            "Nodes that have it: " (tally.done) " of " (tally.total)
            progress value=(tally.done) max=(tally.total.max(1)) {}
        }
        @if !it.message.is_empty() { p { (it.message) } }
        (words::pairs(&pairs))
        @if !seen.failures.is_empty() {
            (words::numbers("Failures", &["Reason", "Nodes"], &html! {
                @for (reason, count) in &seen.failures {
                    tr { th scope="row" { (reason) } td { (count) } }
                }
            }))
        }
    }
}

fn held(hold: &Hold) -> Markup {
    html! {
        (hold.as_str())
        @match hold {
            Hold::Vanished { count } => { " of " (count) " nodes" }
            Hold::Answers { count } | Hold::Window { count } | Hold::Budget { count } => {
                " for " (count) " nodes"
            }
            Hold::Soak { until } => { " until " (words::time(*until)) }
            Hold::Phase | Hold::Brake | Hold::Approval | Hold::Nobody => {}
        }
    }
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
