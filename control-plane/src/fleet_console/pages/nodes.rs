//! The nodes that a selector matches, with a search that answers while one types, and rows that
//! change as the nodes do.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};
use muster_common::ids::NodeId;
use muster_domain::{access::Scope, page::Page};

use crate::{
    app::nodes::View,
    fleet_console::{
        answer::Problem,
        frame::{self, Html, Section},
        live::{self, Gone, Live},
        visit::Visit,
        words,
    },
};

pub(in crate::fleet_console) const METHOD: &str = "/muster.admin.v1.NodesService/ListNodes";

/// Rows of a page.
const ROWS: u32 = 50;
/// Labels of a row.
const LABELS: usize = 6;

/// Its address.
const ADDRESS: &str = "/nodes";
/// A page that is told of news looks at most this part of the time: of a large fleet more seldom.
const REST: u32 = 20;
/// Between two looks.
const LIMITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Without news it looks all the same.
const ANEW: Duration = Duration::from_secs(15);

const HEADS: [&str; 6] = ["Node", "State", "Since", "Agent", "Items in sync", "Labels"];

/// What was found.
struct Found {
    rows: Vec<View>,
    next: Option<String>,
    total: usize,
}

pub(in crate::fleet_console) async fn page(visit: Visit) -> Result<Html, Problem> {
    let found = find(&visit, &visit.may(METHOD)?)?;
    if !visit.asked("part").is_empty() {
        // A selector that is half typed is no fault: the script is told so in words.
        return Ok(frame::part(results(&visit, &found)));
    }
    let body = html! {
        (form(visit.asked("selector")))
        p id="count" role="status" { (summary(&found)) }
        div id="results" data-events=(events_of(&visit)) data-status="count" { (results(&visit, &found)) }
    };
    Ok(frame::page(&visit, Section::Nodes, "Nodes", &body))
}

/// `progress` with what takes the place of what was found.
pub(in crate::fleet_console) async fn events(visit: Visit) -> Result<Response, Problem> {
    let scope = visit.may(METHOD)?;
    // What cannot be refuses the page; a selector that cannot be read is told within it.
    let _ = find(&visit, &scope)?;
    live::open(visit, follow)
}

/// Tells until nobody listens, or whoever listens may not any more.
async fn follow(visit: Visit, mut live: Live) -> Result<(), Gone> {
    let app = &visit.console.app;
    let mut applied = app.feed.applied();
    loop {
        applied.mark_unchanged();
        let scope = visit.judge(METHOD).map_err(|_| Gone)?;
        let begun = app.clock.monotonic();
        let part = results(&visit, &find(&visit, &scope).map_err(|_| Gone)?).into_string();
        let pause = ((app.clock.monotonic() - begun) * REST).clamp(LIMITS.0, LIMITS.1);
        live.tell(app, "progress", part).await?;
        let news = async {
            tokio::time::sleep(pause).await;
            // Of no meaning: the feed is there as long as the process.
            let _ = tokio::time::timeout(ANEW, applied.changed()).await;
        };
        live.rest(app, news).await?;
    }
}

fn events_of(visit: &Visit) -> String {
    let values = ["selector", "after"].map(|key| (key, visit.asked(key)));
    words::link("/nodes/events", &values)
}

/// The nodes; or, within the page, why the selector cannot be.
fn find(visit: &Visit, scope: &Scope) -> Result<Result<Found, Problem>, Problem> {
    let app = &visit.console.app;
    let after = match visit.asked("after") {
        "" => None,
        text => Some(text.parse::<NodeId>().map_err(|_| Problem::invalid("after is no id of a node"))?),
    };
    let selector = match app.selector_or_all(visit.asked("selector")) {
        Ok(selector) => selector,
        Err(error) => return Ok(Err(error.into())),
    };
    let page = Page { size: ROWS, after: after.map(|id| id.to_string()) };
    let (listed, total) = app.nodes(scope, &selector, &page)?;
    Ok(Ok(Found { rows: listed.rows, next: listed.next, total }))
}

fn form(selector: &str) -> Markup {
    html! {
        form action=(ADDRESS) role="search" data-live="results" data-status="count" {
            label.wide {
                "Selector"
                input type="search" name="selector" value=(selector) autocomplete="off" spellcheck="false"
                    autocapitalize="none" placeholder="role=web,site in (north,south),!@canary";
            }
            button { "Search" }
        }
    }
}

fn summary(found: &Result<Found, Problem>) -> String {
    match found {
        Ok(found) if found.total == 1 => "1 node matches.".to_owned(),
        Ok(found) => format!("{} nodes match.", found.total),
        Err(problem) => format!("The selector cannot be read: {}", problem.text),
    }
}

fn results(visit: &Visit, found: &Result<Found, Problem>) -> Markup {
    let selector = ("selector", visit.asked("selector"));
    let inside = match found {
        Err(problem) => frame::told(problem),
        Ok(found) if found.rows.is_empty() => html! { p { "No node that you see matches." } },
        Ok(found) => html! {
            (words::table("Nodes", &HEADS, &html! { @for view in &found.rows { (row(view)) } }))
            (words::paging(
                (!visit.asked("after").is_empty()).then(|| words::link(ADDRESS, &[selector])).as_deref(),
                found.next.as_deref().map(|next| words::link(ADDRESS, &[selector, ("after", next)])).as_deref(),
            ))
        },
    };
    html! { div data-summary=(summary(found)) { (inside) } }
}

fn row(view: &View) -> Markup {
    let (node, items) = (&view.node, view.items());
    let in_sync = items.iter().filter(|item| item.in_sync).count();
    html! {
        tr {
            th scope="row" { a href=(format!("/nodes/{}", node.id)) { (node.display_name) } }
            td { (words::mark(node.liveness.state)) }
            td { (words::time(node.liveness.since)) }
            td { (node.facts.agent_version()) }
            td { span.bad[in_sync < items.len()] { (in_sync) " of " (items.len()) } }
            td.labels {
                @for (key, value) in node.labels.iter().take(LABELS) { (key) "=" (value) " " }
                @if node.labels.len() > LABELS { "…" }
            }
        }
    }
}
