//! Alerts: what is so now, and what lately was, told to the page as it changes.

use std::{cmp::Reverse, time::Duration};

use axum::response::Response;
use maud::{Markup, html};
use muster_common::ids::{NodeId, RolloutId};
use muster_domain::{
    access::Scope,
    alert::{Alert, State, Subject},
};

use crate::{
    app::{App, alerts::Board},
    fleet_console::{
        alerts,
        answer::Problem,
        frame::{self, Html, Section},
        live::{self, Gone, Live},
        runbooks,
        visit::Visit,
        words,
    },
};

pub(in crate::fleet_console) const METHOD: &str = "/muster.admin.v1.AlertsService/ListAlerts";

/// Rows of a table; the worst and newest of those that are so.
const ROWS: usize = 100;
/// Nodes go and get other names without news of alerts: then the part is made anew.
const ANEW: Duration = Duration::from_secs(5);

const HEADS: [&str; 6] = ["Severity", "Alert", "About", "Since", "What", "How it stands"];
/// Tables of the page, each with its heading.
const PARTS: [(State, &str); 4] = [
    (State::Open, "Open"),
    (State::Acknowledged, "Acknowledged"),
    (State::Silenced, "Silenced"),
    (State::Resolved, "Resolved lately"),
];

/// What one caller is shown.
struct Seen<'a> {
    app: &'a App,
    board: &'a Board,
    alerts: Vec<&'a Alert>,
}

pub(in crate::fleet_console) async fn page(visit: Visit) -> Result<Html, Problem> {
    let scope = visit.may(METHOD)?;
    let (summary, part) = {
        let board = visit.console.alerts.now();
        let seen = Seen::of(&visit.console.app, &scope, &board);
        (seen.summary(), seen.part())
    };
    let body = html! {
        p id="count" role="status" { (summary) }
        div data-events="/alerts/events" data-status="count" { (part) }
    };
    Ok(frame::page(&visit, Section::Alerts, "Alerts", &body))
}

/// `progress` with what takes the place of the page's part, `alerts` with how many are open.
pub(in crate::fleet_console) async fn events(visit: Visit) -> Result<Response, Problem> {
    visit.may(METHOD)?;
    live::open(visit, follow)
}

/// Tells until nobody listens, or whoever listens may not any more.
async fn follow(visit: Visit, mut live: Live) -> Result<(), Gone> {
    let app = &visit.console.app;
    let mut news = visit.console.alerts.news();
    loop {
        let scope = visit.judge(METHOD).map_err(|_| Gone)?;
        let (part, open) = {
            let board = news.borrow_and_update();
            let seen = Seen::of(app, &scope, &board);
            (seen.part().into_string(), frame::open(seen.of_state(State::Open).len()))
        };
        live.tell(app, "progress", part).await?;
        live.tell(app, "alerts", open).await?;
        let changed = async {
            // Of no meaning: the console has the other end for as long as there is a page.
            let _ = tokio::time::timeout(ANEW, news.changed()).await;
        };
        live.rest(app, changed).await?;
    }
}

impl<'a> Seen<'a> {
    fn of(app: &'a App, scope: &Scope, board: &'a Board) -> Self {
        Self { app, board, alerts: alerts::shown(app, scope, board) }
    }

    /// Those of one state: the worst and newest first; of those that have ended, the last one.
    fn of_state(&self, state: State) -> Vec<&'a Alert> {
        let mut found: Vec<&Alert> =
            self.alerts.iter().filter(|alert| alert.state() == state).copied().collect();
        if state != State::Resolved {
            found.sort_by_key(|alert| (Reverse(alert.severity), Reverse(alert.opened_at), alert.id));
        }
        found
    }

    fn summary(&self) -> String {
        let open = self.of_state(State::Open);
        let worst = open.first().map_or("", |alert| alert.severity.as_str());
        match open.len() {
            0 => "No alert is open.".to_owned(),
            1 => format!("1 alert is open: {worst}."),
            count => format!("{count} alerts are open, the worst of them {worst}."),
        }
    }

    fn part(&self) -> Markup {
        html! {
            div data-summary=(self.summary()) {
                @for (state, title) in PARTS { (self.table(state, title)) }
            }
        }
    }

    fn table(&self, state: State, title: &str) -> Markup {
        let found = self.of_state(state);
        let beyond = found.len().saturating_sub(ROWS);
        let rows = html! { @for alert in found.iter().take(ROWS) { (self.row(alert)) } };
        html! {
            h2 { (title) " (" (found.len()) ")" }
            @if found.is_empty() {
                p.quiet { "None." }
            } @else {
                (words::table(title, &HEADS, &rows))
            }
            @if beyond > 0 {
                p { (beyond) " more are not shown here; " code { "deploy/grpcurl/alerts-list.sh" } " lists all." }
            }
        }
    }

    fn row(&self, alert: &Alert) -> Markup {
        html! {
            tr {
                td { (words::severity(alert.severity)) }
                th scope="row" { (alert.rule) @if alert.is_test { " (a test)" } div { (runbooks::way(alert.kind)) } }
                td { (self.subject(alert)) }
                td { (words::time(alert.since)) }
                td {
                    (alert.message)
                    div.quiet { (alert.reason) @if let Some(cause) = &alert.cause { ", " (cause.reason) } }
                    (self.members(alert))
                }
                td { (self.standing(alert)) }
            }
        }
    }

    fn node(&self, id: NodeId) -> Markup {
        let name = self.app.fleet.with(id, |entry| entry.node.display_name.clone());
        html! { a href=(format!("/nodes/{id}")) { (name.unwrap_or_else(|| id.to_string())) } }
    }

    fn subject(&self, alert: &Alert) -> Markup {
        match &alert.subject {
            Subject::Node(id) => self.node(*id),
            Subject::Group(value) if value.is_empty() => html! { "many nodes of the fleet" },
            Subject::Group(value) => html! { "many nodes of " (value) },
            Subject::Thing(name) => {
                let rollout = name.strip_prefix("rollout/").filter(|id| id.parse::<RolloutId>().is_ok());
                match rollout {
                    Some(id) => html! { a href=(format!("/rollouts/{id}")) { (name) } },
                    None => html! { (name) },
                }
            }
        }
    }

    /// Of many nodes: those that are named.
    fn members(&self, alert: &Alert) -> Markup {
        let beyond = alert.count.saturating_sub(alert.nodes.len() as u64);
        html! {
            @if !alert.nodes.is_empty() {
                details id=(format!("members-{}", alert.id)) {
                    summary { (alert.count) " nodes" }
                    ul {
                        @for id in &alert.nodes { li { (self.node(*id)) } }
                        @if beyond > 0 { li { "and " (beyond) " more" } }
                    }
                }
            }
        }
    }

    fn standing(&self, alert: &Alert) -> Markup {
        let silence =
            alert.silence.and_then(|id| self.board.silences.iter().find(|silence| silence.id == id));
        html! {
            @if let Some(at) = alert.ended_at {
                (alert.end_reason) ", " (words::time(at))
            } @else {
                @if let Some(silence) = silence {
                    div { "silenced until " (words::time(silence.ends_at)) " by " (silence.created_by) }
                    div { (silence.comment) }
                }
                @if let Some(seen) = &alert.acknowledged {
                    div { "looked after by " (seen.by) " since " (words::time(seen.at)) }
                    div { (seen.comment) }
                }
                @if alert.told && !alert.receivers.is_empty() {
                    div { "told: " (alert.receivers.join(", ")) }
                } @else {
                    div { "nobody was told" }
                }
            }
        }
    }
}
