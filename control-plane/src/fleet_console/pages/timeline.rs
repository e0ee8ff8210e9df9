//! What became of a node, the newest first: its events, what is known of it, and, for those who may
//! read the audit, what people did to it. What an event tells is told once.

use maud::{Markup, html};
use muster_common::clock::UnixMillis;
use muster_domain::{audit::Filter, event, item::ItemState, page::Page};

use super::audit;
use crate::{
    app::{events::Asked, nodes::View},
    fleet_console::{answer::Problem, visit::Visit, words},
};

const EVENTS: &str = "/muster.admin.v1.EventsService/ListEvents";
/// Events, and entries of the audit, that are looked at.
const LOOKED_AT: u32 = 50;
/// Lines that are shown.
const MOST: usize = 60;

type Happened = (UnixMillis, String);

/// All of it, as a list.
pub(super) async fn timeline(visit: &Visit, view: &View) -> Result<Markup, Problem> {
    let mut all = known(view);
    if visit.could(audit::METHOD) {
        let filter = Filter { subject: format!("node/{}", view.node.id), ..Filter::default() };
        let page = Page { size: LOOKED_AT, after: None };
        let entries = visit.console.app.audit_entries(page, filter).await?;
        all.extend(entries.rows.into_iter().map(|(_, entry)| {
            let denied = if entry.note.denied { ", denied" } else { "" };
            (entry.stamp.at, format!("{} by {}{denied}", entry.stamp.action, entry.stamp.actor))
        }));
    }
    if let Ok(scope) = visit.judge(EVENTS) {
        let filter = event::Filter { node: Some(view.node.id), ..event::Filter::default() };
        let asked = Asked { filter, selector: None };
        let page = Page { size: LOOKED_AT, after: None };
        let events = visit.console.app.events(&scope, &page, &asked).await?.rows;
        all.retain(|(at, _)| !events.iter().any(|event| event.at == *at));
        all.extend(events.into_iter().map(|it| (it.at, told(&it))));
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    all.truncate(MOST);
    Ok(html! {
        ol.timeline { @for (at, what) in &all { li { (words::time(*at)) " " (what) } } }
    })
}

fn told(event: &event::Event) -> String {
    let why = if event.reason.is_empty() { String::new() } else { format!(": {}", event.reason) };
    let by = if event.actor.is_empty() { String::new() } else { format!(", by {}", event.actor) };
    format!("{}{why}{by}", event.message)
}

fn known(view: &View) -> Vec<Happened> {
    let node = &view.node;
    let mut all = vec![
        (node.created_at, format!("enrolled with {}", node.enrolled_with)),
        (node.liveness.since, format!("{}: {}", words::state(node.liveness.state), node.liveness.reason)),
        (
            node.certificate.current.not_before,
            format!("certificate number {} begins", node.certificate.current.generation),
        ),
    ];
    all.extend(view.live.as_ref().map(|live| (live.since, format!("a session begins from {}", live.remote))));
    all.extend(node.quarantine.as_ref().map(|it| (it.since, format!("quarantine: {}", it.reason.as_str()))));
    all.extend(view.conditions.iter().map(|it| {
        let holds = match it.holds {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "is not known",
        };
        (it.since, format!("{} {holds}: {}", it.kind, it.reason))
    }));
    all.extend(node.touches.iter().map(|it| {
        let gives = it.gives.as_ref().map_or_else(|| "nothing more".to_owned(), ToString::to_string);
        (it.at, format!("rollout {} gives {gives}", it.rollout))
    }));
    node.items.iter().for_each(|state| of_item(state, &mut all));
    all
}

fn of_item(state: &ItemState, all: &mut Vec<Happened>) {
    let version = state.attempted.as_ref().map(|it| it.version.as_str()).unwrap_or_default();
    let outcome = state.outcome.map_or("is on its way", words::outcome);
    all.push((state.changed_at, format!("{} {version} {outcome}, says the host", state.item)));
    all.extend(state.drift.iter().map(|it| {
        let now = if it.corrected { "drifted and was corrected" } else { "drifted" };
        (it.noticed_at, format!("{}: {} {now}, says the host", state.item, it.path))
    }));
}
