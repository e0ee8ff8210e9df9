//! One rollout: how it stands as that changes, its plan, its nodes.

use axum::extract::Path;
use maud::{Markup, html};
use muster_common::ids::{NodeId, RolloutId};
use muster_domain::rollout::{OnFailure, Plan, Portion, Share, Standing};

use super::progress;
use crate::{
    app::rollouts::{NodeProgress, Seen},
    fleet_console::{
        answer::Problem,
        frame::{self, Html, Section},
        visit::Visit,
        words,
    },
};

pub(super) const METHOD: &str = "/muster.admin.v1.RolloutsService/GetRollout";

/// Nodes of a page.
const ROWS: usize = 100;

pub(in crate::fleet_console) async fn page(visit: Visit, Path(id): Path<String>) -> Result<Html, Problem> {
    let (scope, app) = (visit.may(METHOD)?, &visit.console.app);
    let id: RolloutId = id.parse().map_err(|_| Problem::no_such("rollout", &id))?;
    let (seen, nodes) = app.rollout_and_nodes(&scope, id).await?;
    let events = (!seen.rollout.phase.is_over()).then(|| format!("/rollouts/{id}/events"));
    let body = html! {
        (summary(&seen))
        h2 { "Progress" }
        p id="told" role="status" {}
        div id="progress" data-events=[events] data-status="told" { (progress::shown(&seen)) }
        h2 { "Plan" }
        (plan(&seen.rollout.plan))
        h2 { "Nodes" }
        (members(&visit, &nodes)?)
    };
    let title = format!("Rollout of {}", seen.rollout.assignment);
    Ok(frame::page(&visit, Section::Rollouts, &title, &body))
}

fn summary(seen: &Seen) -> Markup {
    let it = &seen.rollout;
    let target = |target: &Option<muster_domain::assignment::Target>| {
        target.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    words::pairs(&[
        ("Id", html! { code { (it.id) } }),
        ("Assignment", html! { (it.assignment) }),
        ("From", html! { (target(&it.from)) }),
        ("To", html! { (target(&it.to)) }),
        ("Made", html! { (words::time(it.created_at)) " by " (it.created_by) }),
    ])
}

fn plan(plan: &Plan) -> Markup {
    let share = |share: Share| match share {
        Share::Count(count) => count.to_string(),
        Share::Percent(percent) => format!("{percent} %"),
    };
    let rows = html! {
        @for (number, step) in plan.steps.iter().enumerate() {
            tr {
                th scope="row" { (number + 1) }
                td { (portion(&step.reach)) }
                td { (humantime::format_duration(step.soak)) }
                td { (if step.approval { "a person says yes before it" } else { "none" }) }
            }
        }
    };
    html! {
        (words::table("Plan", &["Step", "Reaches", "Soaks", "Approval"], &rows))
        p {
            (share(plan.max_failed)) " may fail; with more "
            (match plan.on_failure {
                OnFailure::RollBack => "all that were touched return",
                OnFailure::Pause => "it waits for a person",
            })
            ". At once in flight: "
            (if plan.max_in_flight == 0 { "any number".to_owned() } else { plan.max_in_flight.to_string() }) "."
            @if let Some(budget) = &plan.budget {
                " Of nodes with the same " code { (budget.label) } " at most " (share(budget.max)) " are disturbed at once."
            }
            @if !plan.windows.is_empty() { " Only in its " (plan.windows.len()) " windows, by the hosts' clocks." }
        }
    }
}

fn portion(reach: &Portion) -> String {
    match reach {
        Portion::Percent(percent) => format!("{percent} % of those that are here"),
        Portion::Count(count) => format!("{count} nodes"),
        Portion::Selector(selector) => format!("those that {selector} matches"),
    }
}

fn members(visit: &Visit, all: &[NodeProgress]) -> Result<Markup, Problem> {
    let from = match visit.asked("after") {
        "" => 0,
        text => {
            let after: NodeId = text.parse().map_err(|_| Problem::invalid("after is no id of a node"))?;
            all.iter().position(|it| it.node == after).map_or(0, |at| at + 1)
        }
    };
    let shown: Vec<&NodeProgress> = all.iter().skip(from).take(ROWS).collect();
    let next = shown.last().filter(|_| from + ROWS < all.len()).map(|last| last.node.to_string());
    let name = |id| visit.console.app.fleet.with(id, |entry| entry.node.display_name.clone());
    let rows = html! {
        @for it in &shown {
            tr {
                th scope="row" {
                    a href=(format!("/nodes/{}", it.node)) { (name(it.node).unwrap_or_else(|| it.node.to_string())) }
                }
                td { (standing(it.standing)) }
                td { (it.failure) }
            }
        }
    };
    Ok(html! {
        @if all.is_empty() {
            p { "It has no node that you see." }
        } @else {
            (words::table("Nodes", &["Node", "Stands", "Failure"], &rows))
        }
        (words::paging(
            (from > 0).then(|| visit.with(&[])).as_deref(),
            next.as_deref().map(|next| visit.with(&[("after", next)])).as_deref(),
        ))
    })
}

fn standing(standing: Standing) -> Markup {
    match standing {
        Standing::Untouched => html! { "not yet" },
        Standing::Given { since } => html! { "given since " (words::time(since)) },
        Standing::Done => html! { span.good { "done" } },
        Standing::Failed => html! { span.bad { "failed" } },
        Standing::Excused => html! { "does not take part" },
    }
}
