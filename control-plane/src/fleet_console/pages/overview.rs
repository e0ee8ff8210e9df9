//! The fleet at one look: states now and over time, releases of agents, values of a label.

use maud::{Markup, html};
use muster_domain::labels::is_key;

use crate::{
    app::overview::{Counts, Overview},
    fleet_console::{
        answer::Problem,
        frame::{self, Html, Section},
        plot,
        visit::Visit,
        words,
    },
};

pub(in crate::fleet_console) const METHOD: &str = "/muster.admin.v1.NodesService/ListNodes";

/// What sites are told apart by, unless somebody asks for another label.
const LABEL: &str = "site";
/// Rows of a table of kinds; the rest is one row.
const ROWS: usize = 20;
/// Corners of a plot's edge: one for three pixels of a wide screen.
const POINTS: usize = 240;

pub(in crate::fleet_console) async fn page(visit: Visit) -> Result<Html, Problem> {
    let scope = visit.may(METHOD)?;
    let label = match visit.asked("label") {
        "" => LABEL,
        label => label,
    };
    let overview = visit.console.app.overview(&scope, label).await;
    let body = html! {
        @if overview.total == 0 {
            p { "There is no node that you see. A host comes with a join token: "
                code { "muster-control-plane token create" } "." }
        }
        div.columns {
            section {
                h2 { "States of " (overview.total) " nodes" }
                (states(&overview))
            }
            section {
                h2 { "Releases of agents" }
                (kinds("Releases of agents", "Release", &overview.versions, |release| {
                    let known = !release.is_empty();
                    known.then(|| format!("facts.agent-version={release}"))
                }, "not known", 0))
            }
            section {
                h2 { "Nodes by label " (label) }
                (by_label(&overview, label))
            }
        }
        section {
            h2 { "States over time" }
            @if scope.is_whole() {
                (plot::plot(&visit.console.samples.spread(POINTS)))
            } @else {
                p { "It is of every node, and shown to those who see every node." }
            }
        }
    };
    Ok(frame::page(&visit, Section::Overview, "Overview", &body))
}

fn states(overview: &Overview) -> Markup {
    let rows = html! {
        @for state in words::STATES {
            tr {
                th scope="row" { (words::mark(state)) }
                td { (overview.states.get(&state).copied().unwrap_or(0)) }
            }
        }
    };
    words::numbers("States", &["State", "Nodes"], &rows)
}

fn by_label(overview: &Overview, label: &str) -> Markup {
    html! {
        form action="/" {
            label { "Label" input type="text" name="label" value=(label) autocomplete="off" spellcheck="false"; }
            button { "Show" }
        }
        @if is_key(label) {
            (kinds("Nodes by label", "Value", &overview.labelled, |value| Some(format!("{label}={value}")),
                "empty", overview.unlabelled))
        } @else {
            p role="alert" { (label) " cannot be the key of a label." }
        }
    }
}

/// A table of kinds; each leads to its nodes, where a selector can say which.
fn kinds(
    name: &str,
    head: &str,
    counts: &Counts,
    selector: impl Fn(&str) -> Option<String>,
    nameless: &str,
    without: usize,
) -> Markup {
    let rest: usize = counts.kinds.iter().skip(ROWS).map(|(_, count)| count).sum::<usize>() + counts.others;
    let rows = html! {
        @for (kind, count) in counts.kinds.iter().take(ROWS) {
            @let shown = if kind.is_empty() { nameless } else { kind };
            tr {
                th scope="row" {
                    @match selector(kind) {
                        Some(selector) => { a href=(words::link("/nodes", &[("selector", &selector)])) { (shown) } }
                        None => { (shown) }
                    }
                }
                td { (count) }
            }
        }
        @if rest > 0 { tr { th scope="row" { "others" } td { (rest) } } }
        @if without > 0 { tr { th scope="row" { "without it" } td { (without) } } }
        @if rest + without == 0 && counts.kinds.is_empty() { tr { td colspan="2" { "none" } } }
    };
    words::numbers(name, &[head, "Nodes"], &rows)
}
