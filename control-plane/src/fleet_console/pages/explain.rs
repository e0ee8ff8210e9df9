//! Why a node has an item, has it not, or will have it.

use axum::extract::Path;
use maud::html;
use muster_common::ids::NodeId;
use muster_domain::item::{InvalidItem, ItemName};

use crate::fleet_console::{
    answer::Problem,
    frame::{self, Html, Section},
    visit::Visit,
    words,
};

const METHOD: &str = "/muster.admin.v1.NodesService/ExplainItem";

pub(in crate::fleet_console) async fn page(visit: Visit, Path(id): Path<String>) -> Result<Html, Problem> {
    let scope = visit.may(METHOD)?;
    let id: NodeId = id.parse().map_err(|_| Problem::no_such("node", &id))?;
    let item: ItemName =
        visit.asked("item").parse().map_err(|error: InvalidItem| Problem::invalid(error.to_string()))?;
    let app = &visit.console.app;
    let name = app.node(&scope, id)?.node.display_name;
    let found = app.explain_item(&scope, id, item.clone()).await?;
    let rows = html! {
        @for reason in &found.reasons {
            tr {
                th scope="row" { (reason.about) }
                td { (words::good(reason.holds)) }
                td { (reason.text) }
            }
        }
    };
    let mut pairs = vec![
        ("Node", html! { a href=(format!("/nodes/{id}")) { (name) } }),
        ("Item", html! { (item) }),
        ("Verdict", html! { strong { (found.verdict.as_str()) } }),
        ("Should have", words::version(found.wanted.as_ref())),
        ("Runs", words::version(found.reported.as_ref().and_then(|state| state.running.as_ref()))),
    ];
    if let Some(at) = found.expected_at {
        pairs.push(("Expected", words::time(at)));
    }
    let body = html! {
        (words::pairs(&pairs))
        h2 { "Reasons" }
        (words::table("Reasons", &["About", "Speaks for it", "What"], &rows))
    };
    Ok(frame::page(&visit, Section::Nodes, &format!("Why {name} has {item}, or not"), &body))
}
