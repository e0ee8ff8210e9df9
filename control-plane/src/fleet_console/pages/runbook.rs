//! What a kind of alert means, and what to do.

use axum::extract::Path;

use super::alerts::METHOD;
use crate::fleet_console::{
    answer::Problem,
    frame::{self, Html, Section},
    runbooks,
    visit::Visit,
};

pub(in crate::fleet_console) async fn page(visit: Visit, Path(name): Path<String>) -> Result<Html, Problem> {
    visit.may(METHOD)?;
    let shown = runbooks::named(&name).ok_or_else(|| Problem::no_such("runbook", &name))?;
    Ok(frame::page(&visit, Section::Alerts, &format!("Runbook {name}"), &shown))
}
