//! `DiagnosticsService`.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use muster_common::reason::Reason;
use muster_proto::agent::v1::{self as pb, diagnostics_service_server::DiagnosticsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status},
    app::App,
};

/// Longest stream without a word, in milliseconds.
const MAX_HOLD_MS: u32 = 300_000;
/// Most bytes of one measurement.
const MAX_BYTES: u32 = 16 * 1024 * 1024;
const CHUNK: u32 = 64 * 1024;

/// Answers hosts that look at their way here.
pub struct Handler(pub App);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl DiagnosticsService for Handler {
    type HoldStream = Answers<pb::HoldResponse>;
    type MeasureStream = Answers<pb::MeasureResponse>;

    async fn echo(&self, request: Request<pb::EchoRequest>) -> Result<Response<pb::EchoResponse>, Status> {
        let (node, caller) = caller::node(&request)?;
        Ok(Response::new(pb::EchoResponse {
            node_id: node.to_string(),
            server_time_ms: self.0.clock.now().0,
            remote_address: caller.remote.to_string(),
        }))
    }

    async fn hold(&self, request: Request<pb::HoldRequest>) -> Result<Response<Self::HoldStream>, Status> {
        let hold = hold_from(request.get_ref())?;
        let app = self.0.clone();
        let said = stream::unfold(Some(false), move |over| next(over, hold, app.clone()));
        Ok(Response::new(Box::pin(said)))
    }

    async fn measure(
        &self,
        request: Request<pb::MeasureRequest>,
    ) -> Result<Response<Self::MeasureStream>, Status> {
        let size = size_from(request.get_ref())?;
        let zeros = Bytes::from_static(&[0; CHUNK as usize]);
        let lengths = (0..size).step_by(CHUNK as usize).map(move |at| (size - at).min(CHUNK));
        let chunks =
            lengths.map(move |length| Ok(pb::MeasureResponse { chunk: zeros.slice(..length as usize) }));
        Ok(Response::new(Box::pin(stream::iter(chunks))))
    }
}

async fn next(
    over: Option<bool>,
    hold: Duration,
    app: App,
) -> Option<(Result<pb::HoldResponse, Status>, Option<bool>)> {
    match over? {
        false => Some((Ok(pb::HoldResponse { over: false }), Some(true))),
        true => tokio::select! {
            () = app.drain.begun() => {
                Some((Err(status::status(Reason::ShuttingDown, "the control plane is shutting down")), None))
            }
            () = tokio::time::sleep(hold) => Some((Ok(pb::HoldResponse { over: true }), None)),
        },
    }
}

pub(crate) fn hold_from(request: &pb::HoldRequest) -> Result<Duration, Status> {
    if (1..=MAX_HOLD_MS).contains(&request.hold_ms) {
        return Ok(Duration::from_millis(request.hold_ms.into()));
    }
    Err(status::invalid("hold_ms", format!("it must be from 1 to {MAX_HOLD_MS}")))
}

pub(crate) fn size_from(request: &pb::MeasureRequest) -> Result<u32, Status> {
    if (1..=MAX_BYTES).contains(&request.size_bytes) {
        return Ok(request.size_bytes);
    }
    Err(status::invalid("size_bytes", format!("it must be from 1 to {MAX_BYTES}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gets_no_more_time_and_bytes_than_there_are() {
        for hold_ms in [0, MAX_HOLD_MS + 1, u32::MAX] {
            assert!(hold_from(&pb::HoldRequest { hold_ms }).is_err(), "{hold_ms}");
        }
        for size_bytes in [0, MAX_BYTES + 1, u32::MAX] {
            assert!(size_from(&pb::MeasureRequest { size_bytes }).is_err(), "{size_bytes}");
        }
        assert_eq!(hold_from(&pb::HoldRequest { hold_ms: 1 }).unwrap(), Duration::from_millis(1));
        assert_eq!(size_from(&pb::MeasureRequest { size_bytes: MAX_BYTES }).unwrap(), MAX_BYTES);
    }
}
