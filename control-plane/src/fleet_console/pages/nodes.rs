//! The nodes that a selector matches, with a search that answers while one types.

use maud::{Markup, html};
use muster_common::ids::NodeId;
use muster_domain::page::Page;

use crate::{
    app::nodes::View,
    fleet_console::{
        answer::Problem,
        frame::{self, Html, Section},
        visit::Visit,
        words,
    },
};

pub(in crate::fleet_console) const METHOD: &str = "/muster.admin.v1.NodesService/ListNodes";

/// Rows of a page.
const ROWS: u32 = 50;
/// Labels of a row.
const LABELS: usize = 6;

const HEADS: [&str; 6] = ["Node", "State", "Since", "Agent", "Items in sync", "Labels"];

/// What was found.
struct Found {
    rows: Vec<View>,
    next: Option<String>,
    total: usize,
}

pub(in crate::fleet_console) async fn page(visit: Visit) -> Result<Html, Problem> {
    let found = find(&visit)?;
    if !visit.asked("part").is_empty() {
        // A selector that is half typed is no fault: the script is told so in words.
        return Ok(frame::part(results(&visit, &found)));
    }
    let body = html! {
        (form(visit.asked("selector")))
        p id="count" role="status" { (summary(&found)) }
        div id="results" { (results(&visit, &found)) }
    };
    Ok(frame::page(&visit, Section::Nodes, "Nodes", &body))
}

/// The nodes; or, within the page, why the selector cannot be.
fn find(visit: &Visit) -> Result<Result<Found, Problem>, Problem> {
    let (scope, app) = (visit.may(METHOD)?, &visit.console.app);
    let after = match visit.asked("after") {
        "" => None,
        text => Some(text.parse::<NodeId>().map_err(|_| Problem::invalid("after is no id of a node"))?),
    };
    let selector = match app.selector_or_all(visit.asked("selector")) {
        Ok(selector) => selector,
        Err(error) => return Ok(Err(error.into())),
    };
    let page = Page { size: ROWS, after: after.map(|id| id.to_string()) };
    let (listed, total) = app.nodes(&scope, &selector, &page)?;
    Ok(Ok(Found { rows: listed.rows, next: listed.next, total }))
}

fn form(selector: &str) -> Markup {
    html! {
        form action="/nodes" role="search" data-live="results" data-status="count" {
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
    let selector = visit.asked("selector");
    let inside = match found {
        Err(problem) => frame::told(problem),
        Ok(found) if found.rows.is_empty() => html! { p { "No node that you see matches." } },
        Ok(found) => html! {
            (words::table("Nodes", &HEADS, &html! { @for view in &found.rows { (row(view)) } }))
            (words::paging(
                (!visit.asked("after").is_empty()).then(|| visit.with(&[("selector", selector)])).as_deref(),
                found.next.as_deref().map(|next| visit.with(&[("selector", selector), ("after", next)])).as_deref(),
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
