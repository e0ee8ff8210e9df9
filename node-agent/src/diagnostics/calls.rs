//! What is asked of a control plane over a connection of its own.

use std::{sync::Arc, time::Duration};

use muster_common::{clock::Clock, error_chain::Chain, reason::Reason};
use muster_proto::agent::v1::{
    self as pb, diagnostics_service_client::DiagnosticsServiceClient,
    enrollment_service_client::EnrollmentServiceClient,
};
use rustls::ClientConfig;
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

use super::{Found, WITHIN, ahead, seconds, way::Line};
use crate::dial::{self, Refusal};

const RENEW: &str = "the agent comes back by itself if it may; if the node was removed or revoked, `disconnect \
                     --local-only` and `connect` with a new join string";
const HTTP: &str = "see that nothing on the way changes HTTP/2: it must let the connection through as it is";
const OLDER: &str = "the control plane is older than this agent: this step cannot be looked at";
const CUT: &str = "something on the way cuts connections that are idle: let it keep them for longer than the heartbeat interval";

/// Opens HTTP/2.
pub(super) async fn open(line: Line<'_>, trust: Arc<ClientConfig>, channel: &mut Option<Channel>) -> Found {
    let address = line.address;
    let stream = match line.connect().await {
        Ok(stream) => stream,
        Err(error) => return Found::failed(format!("cannot reach {address} again: {error}"), HTTP),
    };
    match dial::over(stream, address, trust).await {
        Ok(opened) => {
            *channel = Some(opened);
            Found::passed("HTTP/2".to_owned())
        }
        Err(error) => {
            let remedy = if error.is_about_identity() { RENEW } else { HTTP };
            Found::failed(Chain(&error).to_string(), remedy)
        }
    }
}

/// Whether the certificate of this host is accepted.
pub(super) async fn echo(channel: Channel, clock: &Clock, ahead_ms: &mut Option<i64>) -> Found {
    let asked = clock.now();
    let mut client = DiagnosticsServiceClient::new(channel);
    match timeout(WITHIN, client.echo(pb::EchoRequest {})).await {
        Ok(Ok(answer)) => {
            let answer = answer.into_inner();
            *ahead_ms = ahead(answer.server_time_ms, asked, clock.now());
            let told = format!("accepted as node {}, seen as {}", answer.node_id, answer.remote_address);
            Found::passed(told).with("node", answer.node_id).with("seen-as", answer.remote_address)
        }
        // It knew who asks before it did not know what.
        Ok(Err(status)) if status.code() == Code::Unimplemented => {
            Found::doubtful("accepted; more is not known".to_owned(), OLDER)
        }
        Ok(Err(status)) => refused(&status, RENEW),
        Err(_) => Found::failed(format!("no answer within {} s", WITHIN.as_secs()), HTTP),
    }
}

/// Whether hosts are let in.
pub(super) async fn enrollment(channel: Channel, clock: &Clock, ahead_ms: &mut Option<i64>) -> Found {
    let asked = clock.now();
    let mut client = EnrollmentServiceClient::new(channel);
    match timeout(WITHIN, client.begin_enrollment(pb::BeginEnrollmentRequest {})).await {
        Ok(Ok(answer)) => {
            *ahead_ms = ahead(answer.into_inner().server_time_ms, asked, clock.now());
            Found::passed("it answers hosts".to_owned())
        }
        Ok(Err(status)) if Refusal::from(&status).reason == Some(Reason::EnrollmentDisabled) => {
            let told = Refusal::from(&status).to_string();
            Found::doubtful(told, "no host can enroll now: ask an operator to switch enrollment on")
                .with("reason", "ENROLLMENT_DISABLED")
        }
        Ok(Err(status)) => refused(&status, "see docs/errors for the reason that was given"),
        Err(_) => Found::failed(format!("no answer within {} s", WITHIN.as_secs()), HTTP),
    }
}

/// Whether a stream lives on which nobody speaks.
pub(super) async fn hold(channel: Channel, hold: Duration) -> Found {
    let Ok(hold_ms @ 1..) = u32::try_from(hold.as_millis()) else { return Found::skipped("not asked for") };
    let held = async {
        let request = pb::HoldRequest { hold_ms };
        let mut stream = DiagnosticsServiceClient::new(channel).hold(request).await?.into_inner();
        while let Some(said) = stream.message().await? {
            if said.over {
                return Ok(());
            }
        }
        Err(Status::unavailable("the stream ended too soon"))
    };
    match timeout(hold + WITHIN, held).await {
        Ok(Ok(())) => Found::passed(told_held(hold)).with("hold-ms", hold_ms),
        Ok(Err(status)) if status.code() == Code::Unimplemented => Found::skipped(OLDER),
        Ok(Err(status)) => refused(&status, CUT),
        Err(_) => Found::failed("the end of the stream did not come".to_owned(), CUT),
    }
}

/// The connection is pinged as that of a session is: longer than that it is not silent.
fn told_held(hold: Duration) -> String {
    if hold < dial::KEEPALIVE {
        return format!("held {} without a word", seconds(hold));
    }
    format!("held {} with nothing but a ping every {}", seconds(hold), seconds(dial::KEEPALIVE))
}

/// How fast bytes come.
pub(super) async fn measure(channel: Channel, size_bytes: u32, clock: &Clock) -> Found {
    if size_bytes == 0 {
        return Found::skipped("not asked for");
    }
    let began = clock.monotonic();
    let fetched = async {
        let request = pb::MeasureRequest { size_bytes };
        let mut stream = DiagnosticsServiceClient::new(channel).measure(request).await?.into_inner();
        let mut bytes = 0;
        while let Some(piece) = stream.message().await? {
            bytes += piece.chunk.len();
        }
        Ok::<_, Status>(bytes)
    };
    let slow = "the link is slow: large bundles will take their time";
    match timeout(WITHIN, fetched).await {
        Ok(Ok(bytes)) => {
            let took = clock.monotonic().duration_since(began).as_secs_f64().max(1e-6);
            let rate = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / took / 1e6;
            Found::passed(format!("{bytes} bytes at {rate:.1} MB/s"))
                .with("bytes", bytes)
                .with("megabytes-per-second", (rate * 10.0).round() / 10.0)
        }
        Ok(Err(status)) if status.code() == Code::Unimplemented => Found::skipped(OLDER),
        Ok(Err(status)) => refused(&status, slow),
        Err(_) => {
            Found::failed(format!("{size_bytes} bytes did not come within {} s", WITHIN.as_secs()), slow)
        }
    }
}

fn refused(status: &Status, remedy: &'static str) -> Found {
    let refusal = Refusal::from(status);
    let reason = refusal.reason.map(Reason::as_str);
    Found::failed(refusal.to_string(), remedy).with("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_was_pinged_is_not_said_to_have_been_silent() {
        assert_eq!(told_held(Duration::from_secs(30)), "held 30.0 s without a word");
        assert_eq!(told_held(dial::KEEPALIVE), "held 60.0 s with nothing but a ping every 60.0 s");
    }
}
