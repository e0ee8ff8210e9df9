//! The audit, the newest first.

use maud::{Markup, html};
use muster_domain::{
    audit::{Entry, Filter},
    page::Page,
};

use crate::fleet_console::{
    answer::Problem,
    frame::{self, Html, Section},
    visit::Visit,
    words,
};

pub(in crate::fleet_console) const METHOD: &str = "/muster.admin.v1.AuditService/ListAuditEntries";

/// Rows of a page.
const ROWS: u32 = 50;
/// What one can look for: name in the query, name on the page.
const TEXTS: [(&str, &str); 3] =
    [("actor", "Actor"), ("action", "Action begins with"), ("subject", "Subject")];

pub(in crate::fleet_console) async fn page(visit: Visit) -> Result<Html, Problem> {
    visit.may(METHOD)?;
    let after = match visit.asked("after") {
        "" => None,
        text => Some(text.parse::<u64>().map_err(|_| Problem::invalid("after is no place in the audit"))?),
    };
    let text = |key: &str| visit.asked(key).to_owned();
    let filter = Filter {
        subject: text("subject"),
        actor: text("actor"),
        action_prefix: text("action"),
        denied_only: !visit.asked("denied").is_empty(),
        ..Filter::default()
    };
    let page = Page { size: ROWS, after: after.map(|place| place.to_string()) };
    let listed = visit.console.app.audit_entries(page, filter).await?;
    let rows = html! { @for (_, entry) in &listed.rows { (row(entry)) } };
    let body = html! {
        (form(&visit))
        @if listed.rows.is_empty() {
            p { "No entry is such a one." }
        } @else {
            (words::table("Entries", &["Time", "Actor", "Action", "Subject", "From", "What changed"], &rows))
        }
        (words::paging(
            after.map(|_| same(&visit, "")).as_deref(),
            listed.next.as_deref().map(|next| same(&visit, next)).as_deref(),
        ))
    };
    Ok(frame::page(&visit, Section::Audit, "Audit", &body))
}

/// The same search, after a place.
fn same(visit: &Visit, after: &str) -> String {
    let keys = TEXTS.map(|(key, _)| key).into_iter().chain(["denied"]);
    let mut values: Vec<(&str, &str)> = keys.map(|key| (key, visit.asked(key))).collect();
    values.push(("after", after));
    visit.with(&values)
}

fn form(visit: &Visit) -> Markup {
    html! {
        form action="/audit" role="search" {
            @for (key, name) in TEXTS {
                label { (name) input type="search" name=(key) value=(visit.asked(key)) autocomplete="off" spellcheck="false"; }
            }
            label.check {
                input type="checkbox" name="denied" value="1" checked[!visit.asked("denied").is_empty()];
                "Only what was denied"
            }
            button { "Search" }
        }
    }
}

fn row(entry: &Entry) -> Markup {
    let (stamp, note) = (&entry.stamp, &entry.note);
    html! {
        tr {
            td { (words::time(stamp.at)) }
            td { (stamp.actor) }
            td { (stamp.action) @if note.denied { " " span.bad { "denied" } } }
            td { (subject(&note.subject)) }
            td { (stamp.remote_address) }
            td {
                @if !(note.before.is_empty() && note.after.is_empty()) {
                    details {
                        summary { "Before and after" }
                        pre { (note.before) }
                        pre { (note.after) }
                    }
                }
            }
        }
    }
}

/// A node leads to its page.
fn subject(subject: &str) -> Markup {
    match subject.strip_prefix("node/").filter(|id| id.parse::<muster_common::ids::NodeId>().is_ok()) {
        Some(id) => html! { a href=(format!("/nodes/{id}")) { (subject) } },
        None => html! { (subject) },
    }
}
