//! Request streams that bring bytes: read no faster than they are written, and not for
//! ever.

use std::time::Duration;

use bytes::Bytes;
use muster_common::reason::Reason;
use muster_proto::{admin::v1 as admin, agent::v1 as agent};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{
    status::{self, invalid},
    wire,
};
use crate::app::{App, Error, blobs::Receiving};

/// For all bytes of one stream: the slowest line that is worth it brings 64 MiB in an hour.
const WITHIN: Duration = Duration::from_secs(3600);
/// Messages after which it is asked again whether more may come.
const ASKED_EVERY: u32 = 16;

/// A message of such a stream.
pub(super) trait Message {
    /// What it begins with.
    type Start;

    /// What it says. `None`: nothing.
    fn part(self) -> Option<Part<Self::Start>>;
}

/// What a message says.
pub(super) enum Part<S> {
    /// What will come.
    Start(S),
    /// The next bytes.
    Chunk(Bytes),
}

impl Message for admin::UploadBlobRequest {
    type Start = admin::UploadStart;

    fn part(self) -> Option<Part<Self::Start>> {
        Some(match self.part? {
            admin::upload_blob_request::Part::Start(start) => Part::Start(start),
            admin::upload_blob_request::Part::Chunk(chunk) => Part::Chunk(chunk),
        })
    }
}

impl Message for agent::UploadResultRequest {
    type Start = agent::ResultStart;

    fn part(self) -> Option<Part<Self::Start>> {
        Some(match self.part? {
            agent::upload_result_request::Part::Start(start) => Part::Start(start),
            agent::upload_result_request::Part::Chunk(chunk) => Part::Chunk(chunk),
        })
    }
}

/// What the stream begins with.
pub(super) async fn start<M: Message>(app: &App, parts: &mut Streaming<M>) -> Result<M::Start, Status> {
    match next(app, parts).await? {
        Some(Part::Start(start)) => Ok(start),
        _ => Err(invalid("start", "it comes first")),
    }
}

/// Takes all bytes, within the time for them and as long as `may` says so.
pub(super) async fn receive<M: Message, F: Future<Output = Result<(), Error>>>(
    app: &App,
    receiving: &mut Receiving,
    parts: &mut Streaming<M>,
    may: impl Fn() -> F,
) -> Result<(), Status> {
    in_time(take(app, receiving, parts, may)).await
}

async fn in_time(taken: impl Future<Output = Result<(), Status>>) -> Result<(), Status> {
    timeout(WITHIN, taken).await.unwrap_or_else(|_| {
        let within = humantime::format_duration(WITHIN);
        let message = format!("not all has come within {within}; go on from where the upload is");
        Err(status::status(Reason::Overloaded, message))
    })
}

async fn take<M: Message, F: Future<Output = Result<(), Error>>>(
    app: &App,
    receiving: &mut Receiving,
    parts: &mut Streaming<M>,
    may: impl Fn() -> F,
) -> Result<(), Status> {
    let mut until_asked = ASKED_EVERY;
    while let Some(part) = next(app, parts).await? {
        let Part::Chunk(chunk) = part else { return Err(invalid("start", "it comes first, and once")) };
        receiving.write(&wire::blob::chunk_from(chunk)?).await.map_err(status::of_app)?;
        until_asked -= 1;
        if until_asked == 0 {
            until_asked = ASKED_EVERY;
            may().await.map_err(status::of_app)?;
        }
    }
    Ok(())
}

/// The next part, within its time. `None`: the caller has said all.
async fn next<M: Message>(app: &App, parts: &mut Streaming<M>) -> Result<Option<Part<M::Start>>, Status> {
    if app.is_draining() {
        return Err(status::status(Reason::ShuttingDown, "the control plane is shutting down"));
    }
    let within = app.fixed.blobs.idle_within;
    let message = timeout(within, parts.message()).await;
    let message = message.unwrap_or_else(|_| {
        let within = humantime::format_duration(within);
        let message = format!("nothing came for {within}; go on from where the upload is");
        Err(status::status(Reason::Overloaded, message))
    })?;
    match message.map(Message::part) {
        Some(None) => Err(invalid("part", "it is missing")),
        part => Ok(part.flatten()),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_never_comes_to_its_end_is_ended() {
        let bits = async {
            loop {
                tokio::time::sleep(Duration::from_secs(29)).await;
            }
        };
        let ended = timeout(WITHIN * 2, in_time(bits)).await.expect("it has a time").unwrap_err();
        assert_eq!(ended.code(), Code::Unavailable);
        in_time(async { Ok(()) }).await.unwrap();
    }
}
