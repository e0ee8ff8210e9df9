//! Peers whose certificate hangs under our roots and names nobody who may call:
//! of another trust domain, or a control plane. Cut without a word they would
//! look like a broken network; so each of their calls is told why, for a few
//! seconds, and reaches no service.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use muster_common::reason::Reason;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{
    connection::{Context, builder, closed, metered},
    refusal,
};

/// Long enough for a call over a slow link.
const WITHIN: Duration = Duration::from_secs(5);

/// Answers every call with this reason, then closes.
pub(super) async fn serve(context: &Arc<Context>, stream: TlsStream<TcpStream>, reason: Reason) {
    let metrics = context.gate.metrics.clone();
    let message = told(reason);
    let service = service_fn(move |_| {
        let refused = refusal::response(&metrics, reason, message);
        std::future::ready(Ok::<_, Infallible>(refused))
    });
    let (stream, excess) = metered(context, stream);
    let mut connection = pin!(builder(&context.limits).serve_connection(stream, service));
    tokio::select! {
        () = context.drain.deadline() => {}
        () = tokio::time::sleep(WITHIN) => {}
        end = connection.as_mut() => {
            closed(context, &excess, end.err());
        }
    }
}

const fn told(reason: Reason) -> &'static str {
    match reason {
        Reason::WrongTrustDomain => "the certificate names another trust domain",
        Reason::WrongKindOfCaller => "a control plane's certificate calls nobody",
        _ => "the certificate does not name a caller",
    }
}
