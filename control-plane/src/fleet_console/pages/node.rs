//! One node: how it stands, what holds, what it should run and runs, what it says of itself,
//! what became of it.

use axum::extract::Path;
use maud::{Markup, html};
use muster_common::ids::NodeId;
use muster_domain::item::{ItemError, ItemState};

use super::timeline;
use crate::{
    app::{ItemView, nodes::View},
    fleet_console::{
        answer::Problem,
        frame::{self, Html, Section},
        visit::Visit,
        words,
    },
};

const METHOD: &str = "/muster.admin.v1.NodesService/GetNode";

pub(in crate::fleet_console) async fn page(visit: Visit, Path(id): Path<String>) -> Result<Html, Problem> {
    let scope = visit.may(METHOD)?;
    let id: NodeId = id.parse().map_err(|_| Problem::no_such("node", &id))?;
    let view = visit.console.app.node(&scope, id)?;
    let timeline = timeline::timeline(&visit, &view).await?;
    let body = html! {
        (summary(&view))
        h2 { "Conditions" }
        (conditions(&view))
        h2 { "Items" }
        (items(&view))
        h2 { "Timeline" }
        (timeline)
        h2 { "Labels" }
        (labels(&view))
        h2 { "What the host says of itself" }
        (facts(&view))
    };
    Ok(frame::page(&visit, Section::Nodes, &view.node.display_name, &body))
}

fn summary(view: &View) -> Markup {
    let node = &view.node;
    let mut pairs = vec![
        ("State", html! { (words::mark(node.liveness.state)) " " (node.liveness.reason) }),
        ("Since", words::time(node.liveness.since)),
        ("Last heard", view.last_heard.map_or_else(|| html! { "not by this process" }, words::time)),
        ("Id", html! { code { (node.id) } }),
        ("Agent", html! { (node.facts.agent_version()) }),
        ("Certificate", html! { "to " (words::time(node.certificate.current.not_after)) }),
        ("Enrolled", html! { (words::time(node.created_at)) " with " (node.enrolled_with) }),
    ];
    if let Some(live) = &view.live {
        pairs.push(("Session", html! { "from " (live.remote) ", " (live.key_exchange) }));
    }
    if let Some(replica) = &view.replica {
        pairs.push(("Replica", html! { (replica) }));
    }
    if let Some(release) = &view.upgrade_available {
        pairs.push(("Upgrade available", html! { (release) }));
    }
    html! {
        @if let Some(quarantine) = &node.quarantine {
            p.problem { strong { (quarantine.reason.as_str()) } ": " (quarantine.reason.describe()) ". It gets nothing." }
        }
        (words::pairs(&pairs))
    }
}

fn conditions(view: &View) -> Markup {
    if view.conditions.is_empty() {
        return html! { p { "It has told of none." } };
    }
    let rows = html! {
        @for it in &view.conditions {
            tr {
                th scope="row" { (it.kind) }
                td { (words::holds(it.holds)) }
                td { (it.reason) }
                td { (it.message) }
                td { (words::time(it.since)) }
            }
        }
    };
    words::table("Conditions", &["Condition", "Holds", "Reason", "Message", "Since"], &rows)
}

fn items(view: &View) -> Markup {
    let items = view.items();
    if items.is_empty() {
        return html! { p { "It should have none, and tells of none." } };
    }
    let rows = html! { @for it in &items { (item(view.node.id, it)) } };
    words::table("Items", &["Item", "Should have", "Runs", "Tried last", "In sync", "Why"], &rows)
}

fn item(node: NodeId, it: &ItemView<'_>) -> Markup {
    let name = it.name.to_string();
    let why = words::link(&format!("/nodes/{node}/explain"), &[("item", &name)]);
    html! {
        tr {
            th scope="row" { (name) }
            td {
                (words::version(it.desired))
                @if let Some(reason) = it.withheld { div.bad { "withheld: " (reason) } }
            }
            td {
                (words::version(it.reported.and_then(|state| state.running.as_ref())))
                @if let Some(health) = it.reported.and_then(|state| state.health.as_ref()) {
                    div class=(if health.healthy { "good" } else { "bad" }) {
                        (if health.healthy { "well" } else { "not well" }) ": " (health.message)
                    }
                }
            }
            td { @if let Some(state) = it.reported { (tried(state)) } }
            td { (words::good(it.in_sync)) }
            td { a href=(why) aria-label=(format!("Explain {name}")) { "Explain" } }
        }
    }
}

fn tried(state: &ItemState) -> Markup {
    html! {
        (words::version(state.attempted.as_ref()))
        @if let Some(outcome) = state.outcome {
            " " span.bad[outcome.is_refusal()] { (words::outcome(outcome)) }
        }
        @if let Some(progress) = &state.progress {
            div { (progress.step) " " (progress.percent) " % " (progress.message) }
        }
        @if let Some(error) = &state.error { (failure(error)) }
        @for drift in state.drift.iter().filter(|drift| !drift.corrected) {
            div.bad { "drifted: " (drift.path) " " (drift.what) }
        }
    }
}

fn failure(error: &ItemError) -> Markup {
    html! {
        div.bad { @if let Some(reason) = error.reason { (reason) ": " } (error.message) }
        @if !error.output.is_empty() {
            details {
                summary { "Output" }
                pre { (error.output) }
            }
        }
    }
}

fn labels(view: &View) -> Markup {
    let labels: Vec<_> = view.node.labels.iter().map(|(key, value)| (key, html! { (value) })).collect();
    if labels.is_empty() {
        html! { p { "It has none." } }
    } else {
        words::pairs(&labels)
    }
}

fn facts(view: &View) -> Markup {
    if view.node.facts_sha256.is_empty() {
        return html! { p { "It has not said anything yet." } };
    }
    let facts = view.node.facts.all();
    let gib = |bytes: u64| format!("{}.{} GiB", bytes >> 30, ((bytes >> 20) & 1023) * 10 / 1024);
    words::pairs(&[
        ("Host name", html! { (facts.hostname) }),
        ("System", html! { (facts.os) " " (facts.os_version) }),
        ("Kernel", html! { (facts.kernel) " " (facts.architecture) }),
        ("Processors", html! { (facts.cpu_count) " " (facts.cpu_model) }),
        ("Memory", html! { (gib(facts.memory_bytes)) }),
        ("Time zone", html! { (facts.timezone) }),
        (
            "Disks",
            html! { @for disk in &facts.disks { div { (disk.mount_point) " " (disk.file_system) " " (gib(disk.size_bytes)) } } },
        ),
        ("Addresses", html! { @for it in &facts.addresses { div { (it.interface) " " (it.address) } } }),
    ])
}
