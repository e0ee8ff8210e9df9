//! How a rollout stands, told to the page that shows it whenever that changes.

use std::time::Duration;

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use muster_common::ids::RolloutId;
use muster_domain::rollout::Hold;

use super::rollout::METHOD;
use crate::{
    app::rollouts::{RolloutWatch, Seen},
    fleet_console::{
        answer::Problem,
        live::{self, Gone, Live},
        visit::Visit,
        words,
    },
};

/// Between looks at what was seen, and at whether whoever listens still may.
const LOOK: Duration = Duration::from_millis(500);

/// `progress` with what takes the place of the page's part, and `end` when there will be no more.
pub(in crate::fleet_console) async fn events(
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let scope = visit.may(METHOD)?;
    let id: RolloutId = id.parse().map_err(|_| Problem::no_such("rollout", &id))?;
    let rollout = visit.console.app.watch_rollout(&scope, id).await?;
    live::open(visit, move |visit, live| follow(visit, live, rollout))
}

/// Tells until it is over, nobody listens, or whoever listens may not any more.
async fn follow(visit: Visit, mut live: Live, mut rollout: RolloutWatch) -> Result<(), Gone> {
    let app = &visit.console.app;
    loop {
        let scope = visit.judge(METHOD).map_err(|_| Gone)?;
        // A store that fails for a moment: the browser comes again.
        if let Some(seen) = rollout.look(&scope).await.map_err(|_| Gone)? {
            live.tell(app, "progress", shown(&seen).into_string()).await?;
            if seen.rollout.phase.is_over() {
                return live.tell(app, "end", String::new()).await;
            }
        }
        live.rest(app, tokio::time::sleep(LOOK)).await?;
    }
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
