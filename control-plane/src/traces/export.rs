//! Sends parts of traces to a collector: OTLP over gRPC, many at a time.

use std::{collections::HashMap, time::Duration};

use muster_common::{backoff::Backoff, build_info, drain::Drain};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{self as otlp, ResourceSpans, ScopeSpans, status::StatusCode},
};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use super::span::{Attribute, By, Kind, Span, Value};
use crate::metrics::Metrics;

/// Parts in one message; some 500 KiB.
const BATCH: usize = 512;
/// What comes within this goes in one message.
const GATHER: Duration = Duration::from_millis(500);
/// For one message.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Tries of one message, with growing waits. Others wait meanwhile, as far as there is room.
const TRIES: u32 = 4;
/// For the last ones, when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The endpoint is none.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint:?} is no place of a collector")]
pub struct Error {
    endpoint: String,
    #[source]
    source: tonic::transport::Error,
}

/// Sends them on.
pub struct Exporter {
    waiting: mpsc::Receiver<Span>,
    client: TraceServiceClient<Channel>,
    endpoint: String,
    replica: String,
    metrics: Metrics,
    /// The collector took the last message, or none was sent yet.
    is_well: bool,
}

impl Exporter {
    pub(super) fn to(
        endpoint: &str,
        replica: &str,
        waiting: mpsc::Receiver<Span>,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let place = Endpoint::from_shared(endpoint.to_owned());
        let place = place.map_err(|source| Error { endpoint: endpoint.to_owned(), source })?;
        let channel = place.connect_timeout(TIMEOUT).timeout(TIMEOUT).connect_lazy();
        let (client, replica) = (TraceServiceClient::new(channel), replica.to_owned());
        Ok(Self { waiting, client, endpoint: endpoint.to_owned(), replica, metrics, is_well: true })
    }

    /// Works until the process ends, and sends then what it has.
    pub async fn run(mut self, drain: Drain) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = drain.deadline() => break,
                () = self.gather(&mut batch) => {}
            }
            tokio::select! {
                biased;
                () = drain.deadline() => break,
                () = self.send(&batch) => batch.clear(),
            }
        }
        let _ = tokio::time::timeout(LAST_WORDS, self.send_rest(batch)).await;
    }

    async fn send_rest(&mut self, mut batch: Vec<Span>) {
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.waiting.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send(&batch).await;
            batch.clear();
        }
    }

    /// Waits for the first one, and a moment for more. May be dropped at any time.
    async fn gather(&mut self, batch: &mut Vec<Span>) {
        if batch.is_empty() && self.waiting.recv_many(batch, BATCH).await == 0 {
            return std::future::pending().await; // nobody tells anything any more
        }
        let more = async {
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                if self.waiting.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(GATHER, more).await;
    }

    async fn send(&mut self, batch: &[Span]) {
        let count = batch.len() as u64;
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        for left in (0..TRIES).rev() {
            let request = request(batch, &self.replica);
            match self.client.export(request).await {
                Ok(answer) => {
                    return self.taken(count, &answer.into_inner().partial_success.unwrap_or_default());
                }
                Err(status) if left == 0 || !is_worth_a_try(&status) => {
                    self.metrics.spans("failed", count);
                    return self.warn(status.message());
                }
                Err(_) => tokio::time::sleep(backoff.next_wait()).await,
            }
        }
    }

    /// The collector answered, and may have refused some.
    fn taken(&mut self, count: u64, partial: &ExportTracePartialSuccess) {
        let refused = u64::try_from(partial.rejected_spans).unwrap_or(0).min(count);
        self.metrics.spans("failed", refused);
        self.metrics.spans("exported", count - refused);
        if refused == 0 {
            self.is_well = true;
        } else {
            self.warn(&format!("it refused {refused} of {count}: {}", partial.error_message));
        }
    }

    /// Once, until the collector takes all of something again.
    fn warn(&mut self, error: &str) {
        if std::mem::take(&mut self.is_well) {
            let endpoint = &self.endpoint;
            tracing::warn!(%endpoint, %error, "traces do not reach the collector {endpoint}: {error}");
        }
    }
}

/// Of those that OTLP says are worth it.
fn is_worth_a_try(status: &tonic::Status) -> bool {
    use tonic::Code::{
        Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable,
    };
    let worth = [Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable];
    worth.contains(&status.code())
}

fn request(batch: &[Span], replica: &str) -> ExportTraceServiceRequest {
    let mut by: HashMap<&By, Vec<otlp::Span>> = HashMap::new();
    for span in batch {
        by.entry(&span.by).or_default().push(wire(span));
    }
    let resource_spans = by.into_iter().map(|(by, spans)| ResourceSpans {
        resource: Some(resource(by, replica)),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope { name: "muster".to_owned(), ..Default::default() }),
            spans,
            ..Default::default()
        }],
        ..Default::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

/// Who did it.
fn resource(by: &By, replica: &str) -> Resource {
    let attributes = match by {
        By::Here => vec![
            text("service.name", "muster-control-plane"),
            text("service.version", build_info::version()),
            text("service.instance.id", replica),
        ],
        By::Node { id, name } => vec![
            text("service.name", "muster-node-agent"),
            text("service.instance.id", &id.to_string()),
            text("host.id", &id.to_string()),
            text("host.name", name),
        ],
    };
    Resource { attributes, ..Default::default() }
}

fn wire(span: &Span) -> otlp::Span {
    use otlp::span::SpanKind;
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Internal => SpanKind::Internal,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    };
    let nanos = |micros: i64| u64::try_from(micros).unwrap_or(0).saturating_mul(1000);
    otlp::Span {
        trace_id: span.trace.as_bytes().to_vec(),
        span_id: span.id.as_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        flags: 1,
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.begin_us),
        end_time_unix_nano: nanos(span.end_us),
        attributes: span.attributes.iter().filter_map(attribute).collect(),
        links: span.attributes.iter().filter_map(link).collect(),
        status: (!span.error.is_empty())
            .then(|| otlp::Status { message: span.error.clone(), code: StatusCode::Error.into() }),
        ..Default::default()
    }
}

fn attribute((key, value): &Attribute) -> Option<KeyValue> {
    match value {
        Value::Text(word) => Some(text(key, word)),
        Value::Number(number) => Some(key_value(key, any_value::Value::IntValue(*number))),
        Value::Link(_) => None,
    }
}

/// What it is to this part stands in the link, as its only attribute.
fn link((key, value): &Attribute) -> Option<otlp::span::Link> {
    let Value::Link(at) = value else { return None };
    Some(otlp::span::Link {
        trace_id: at.trace.as_bytes().to_vec(),
        span_id: at.span.as_bytes().to_vec(),
        attributes: vec![text("muster.link", key)],
        flags: u32::from(at.sampled),
        ..Default::default()
    })
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, any_value::Value::StringValue(value.to_owned()))
}

fn key_value(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_collector_refuses_of_a_message_is_counted_and_said_once() {
        let (_queue, waiting) = mpsc::channel(1);
        let metrics = Metrics::default();
        let mut exporter = Exporter::to("http://127.0.0.1:1", "a", waiting, metrics.clone()).unwrap();
        let partial = |rejected_spans| {
            let error_message = "too old".to_owned();
            ExportTracePartialSuccess { rejected_spans, error_message }
        };
        exporter.taken(10, &partial(4));
        assert!(!exporter.is_well, "it was said");
        exporter.taken(10, &partial(0));
        assert!(exporter.is_well);
        exporter.taken(10, &partial(99));
        let text = metrics.encode();
        let of =
            |what: &str, count: u64| text.contains(&format!("muster_spans_total{{what=\"{what}\"}} {count}"));
        assert!(of("failed", 14) && of("exported", 16), "{text}");
    }
}
