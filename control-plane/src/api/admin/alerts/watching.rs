//! Alerts as they begin, change and end.

use std::time::Duration;

use muster_domain::{access::Scope, alert::Alert};
use muster_proto::admin::v1::WatchAlertsResponse as Response;

use crate::{
    api::{
        status,
        watch::{self, Gone, Out, Watch},
        wire,
    },
    app::App,
};

/// A watcher with nothing to hear hears at least this often where it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

pub(super) fn start(app: &App, scope: Scope, from: Option<u64>) -> Watch<Response> {
    let watched = app.clone();
    watch::start(&app.tasks, move |out| async move {
        let _ = follow(&watched, &scope, from, &out).await;
    })
}

async fn follow(app: &App, scope: &Scope, from: Option<u64>, out: &Out<Response>) -> Result<(), Gone> {
    let mut revision = match from {
        Some(revision) => revision,
        None => {
            let (open, revision) = match app.alerts_now(scope).await {
                Ok(now) => now,
                Err(error) => return Err(out.fail(status::of_app(error)).await),
            };
            tell(out, &open).await?;
            bookmark(app, revision, out).await?;
            revision
        }
    };
    let mut applied = app.feed.applied();
    loop {
        let (news, reached) = match app.alert_news(scope, revision).await {
            Ok(news) => news,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        revision = reached;
        if !news.is_empty() {
            tell(out, &news).await?;
            bookmark(app, revision, out).await?;
        }
        tokio::select! {
            () = out.closed() => return Err(Gone),
            () = app.drain.begun() => return Ok(()),
            more = watch::beyond(&mut applied, revision) => if !more { return Ok(()) },
            () = tokio::time::sleep(BOOKMARK_EVERY) => bookmark(app, revision, out).await?,
        }
    }
}

async fn tell(out: &Out<Response>, alerts: &[Alert]) -> Result<(), Gone> {
    for alert in alerts {
        let alert = Some(wire::alert::alert(alert));
        out.send(Response { alert, resume_token: String::new() }).await?;
    }
    Ok(())
}

async fn bookmark(app: &App, revision: u64, out: &Out<Response>) -> Result<(), Gone> {
    out.send(Response { alert: None, resume_token: app.resume_token(revision) }).await
}
