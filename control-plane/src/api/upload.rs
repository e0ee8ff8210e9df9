//! Request streams that bring bytes: read no faster than they are written, and not for
//! ever.

use muster_common::reason::Reason;
use tonic::{Status, Streaming};

use super::status;
use crate::app::App;

/// The next message, within its time. `None`: the caller has said all.
pub(super) async fn next<T>(app: &App, parts: &mut Streaming<T>) -> Result<Option<T>, Status> {
    if app.is_draining() {
        return Err(status::status(Reason::ShuttingDown, "the control plane is shutting down"));
    }
    let within = app.fixed.blobs.idle_within;
    let message = tokio::time::timeout(within, parts.message()).await;
    message.unwrap_or_else(|_| {
        let within = humantime::format_duration(within);
        let message = format!("nothing came for {within}; go on from where the upload is");
        Err(status::status(Reason::Overloaded, message))
    })
}
