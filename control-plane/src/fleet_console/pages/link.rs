//! The way in by a one-time link.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use muster_common::{reason::Reason, tasks};

use crate::fleet_console::{FleetConsole, answer::Problem, frame, visit::Stranger};

pub(in crate::fleet_console) async fn page(
    stranger: Stranger,
    State(console): State<FleetConsole>,
    Path(secret): Path<String>,
) -> Result<Response, Problem> {
    let (links, now) = (console.links.clone(), console.app.clock.now());
    let until = now + console.entered.ttl();
    let spent = tasks::blocking(move || links.spend(&secret, now, until)).await.map_err(|error| {
        tracing::error!(%error, "one-time links cannot be read: {error}");
        Problem::internal("the links cannot be read; the log of the control plane says why")
    })?;
    let remote = stranger.peer.remote;
    let Some(link) = spent else {
        tracing::info!(%remote, "someone at {remote} came by a link that is not there");
        return Err(Problem::nobody(Reason::Unauthenticated));
    };
    // First it is written down: nobody is let in of whom nobody knows.
    console.app.note_console_entry(&link.name, link.role, &remote.to_string()).await?;
    let (name, role) = (link.name.clone(), link.role.as_str());
    tracing::info!(%remote, link = %name, role, "someone at {remote} came by link {name}, as {role}");
    stranger.peer.line.know();
    let kept = console.entered.enter(link, console.gate.clock.monotonic());
    let kept = HeaderValue::from_str(&kept).map_err(|_| Problem::internal("the cookie has no header"))?;
    let mut response = frame::welcome(role).into_response();
    response.headers_mut().insert(header::SET_COOKIE, kept);
    Ok(response)
}
