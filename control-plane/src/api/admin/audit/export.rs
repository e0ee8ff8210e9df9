//! The audit as a file, in chunks.

use bytes::Bytes;
use muster_domain::access::Scope;
use muster_proto::admin::v1 as pb;

use crate::{
    api::{
        status,
        watch::{self, Gone, Out, Watch},
    },
    app::{App, audit::Range},
};

/// Most bytes of a chunk: far below what clients take in one message.
const CHUNK: usize = 256 * 1024;

type Response = pb::ExportAuditEntriesResponse;

pub(super) fn start(app: &App, scope: Scope, range: Range) -> Watch<Response> {
    let exported = app.clone();
    watch::start(&app.tasks, move |out| async move {
        let _ = send(&exported, &scope, range, &out).await;
    })
}

async fn send(app: &App, scope: &Scope, mut range: Range, out: &Out<Response>) -> Result<(), Gone> {
    let mut place = 0;
    while range.is_open() {
        let lines = match app.audit_lines(scope, range).await {
            Ok(lines) => lines,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        range.after = lines.reached;
        let mut text = Bytes::from(lines.text);
        while !text.is_empty() {
            let chunk = text.split_to(text.len().min(CHUNK));
            if text.is_empty() {
                place = lines.reached;
            }
            out.send(Response { chunk, place }).await?;
        }
    }
    Ok(())
}
