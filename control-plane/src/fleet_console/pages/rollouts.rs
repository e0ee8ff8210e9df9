//! The rollouts, the newest first.

use maud::{Markup, html};
use muster_common::ids::RolloutId;
use muster_domain::page::Page;

use crate::{
    app::rollouts::Seen,
    fleet_console::{
        answer::Problem,
        frame::{self, Html, Section},
        visit::Visit,
        words,
    },
};

pub(in crate::fleet_console) const METHOD: &str = "/muster.admin.v1.RolloutsService/ListRollouts";

/// Rows of a page.
const ROWS: u32 = 25;

pub(in crate::fleet_console) async fn page(visit: Visit) -> Result<Html, Problem> {
    let (scope, app) = (visit.may(METHOD)?, &visit.console.app);
    let after = match visit.asked("after") {
        "" => None,
        text => Some(text.parse::<RolloutId>().map_err(|_| Problem::invalid("after is no id of a rollout"))?),
    };
    let page = Page { size: ROWS, after: after.map(|id| id.to_string()) };
    let listed = app.rollouts(&scope, page, None).await?;
    let rows = html! { @for seen in &listed.rows { (row(seen)) } };
    let body = html! {
        @if let Some(brake) = app.rollout_brake() {
            p.problem { strong { "All rollouts are stopped" } " by " (brake.by) " since " (words::time(brake.at))
                ": " (brake.reason) }
        }
        @if listed.rows.is_empty() && listed.next.is_none() {
            p { "There is no rollout that you see." }
        } @else {
            (words::table("Rollouts", &["Rollout", "Assignment", "Brings", "Phase", "Nodes", "Made"], &rows))
        }
        (words::paging(
            after.map(|_| visit.with(&[])).as_deref(),
            listed.next.as_deref().map(|next| visit.with(&[("after", next)])).as_deref(),
        ))
    };
    Ok(frame::page(&visit, Section::Rollouts, "Rollouts", &body))
}

fn row(seen: &Seen) -> Markup {
    let (it, tally) = (&seen.rollout, &seen.tally);
    let brings = it.to.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    html! {
        tr {
            th scope="row" { a href=(format!("/rollouts/{}", it.id)) { code { (it.id) } } }
            td { (it.assignment) }
            td { (brings) }
            td { (it.phase.as_str()) ", step " (it.step + 1) " of " (it.plan.steps.len()) }
            td { (tally.done) " of " (tally.total) " done"
                @if tally.failed > 0 { ", " span.bad { (tally.failed) " failed" } } }
            td { (words::time(it.created_at)) " by " (it.created_by) }
        }
    }
}
