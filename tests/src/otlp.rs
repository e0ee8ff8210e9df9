//! A collector of traces: takes OTLP over gRPC and keeps what comes.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use muster_common::trace::Context;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1 as otlp,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A part of a trace, as it came.
#[derive(Debug, Clone)]
pub struct Part {
    /// `service.name` of who did it.
    pub service: String,
    /// `host.id` of whose it is; empty: the control plane's.
    pub host: String,
    /// The part.
    pub span: otlp::Span,
}

/// A collector. Dropped: it takes nothing any more.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    parts: Arc<Mutex<Vec<Part>>>,
    serving: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a port of the system's choice.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port"))
    }

    /// Starts one where somebody listens already.
    ///
    /// # Panics
    /// If that is nowhere.
    #[must_use]
    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let parts = Arc::<Mutex<Vec<Part>>>::default();
        let service = TraceServiceServer::new(Keep(Arc::clone(&parts)));
        let serve = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        #[allow(clippy::disallowed_methods)] // a helper of tests owns it
        let serving = tokio::spawn(async move { serve.await.expect("the collector serves") });
        Self { address, parts, serving }
    }

    /// For `traces.endpoint`, as it stands in a configuration.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("\"http://{}\"", self.address)
    }

    /// All that came.
    #[must_use]
    pub fn all(&self) -> Vec<Part> {
        self.parts.lock().unwrap().clone()
    }

    /// What came of the trace of a caller.
    #[must_use]
    pub fn of(&self, caller: &Context) -> Trace {
        let is_of = |part: &Part| part.span.trace_id == caller.trace.as_bytes();
        Trace { caller: *caller, parts: self.all().into_iter().filter(is_of).collect() }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What came of one trace.
#[derive(Debug, Clone)]
pub struct Trace {
    caller: Context,
    /// The parts.
    pub parts: Vec<Part>,
}

impl Trace {
    /// Parts with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Part> {
        self.parts.iter().filter(|part| part.span.name == name).collect()
    }

    /// The names of the parts from one up to the call, as `SERVICE: NAME`.
    ///
    /// # Panics
    /// If a part on the way is not there.
    #[must_use]
    pub fn way_up(&self, from: &Part) -> Vec<String> {
        let by_id: HashMap<&[u8], &Part> =
            self.parts.iter().map(|part| (part.span.span_id.as_slice(), part)).collect();
        let (mut way, mut part) = (Vec::new(), from);
        loop {
            way.push(format!("{}: {}", part.service, part.span.name));
            if part.span.parent_span_id == self.caller.span.as_bytes() {
                return way;
            }
            assert!(way.len() < 32, "a ring: {way:?}");
            let above = by_id.get(part.span.parent_span_id.as_slice());
            part = above.unwrap_or_else(|| panic!("nothing is above {way:?}"));
        }
    }

    /// Holds that it is one tree with the caller's own part as its root, each part once, and
    /// that none ends before it began.
    ///
    /// # Panics
    /// If it is none.
    pub fn assert_tree(&self) {
        let ids: BTreeSet<_> = self.parts.iter().map(|part| part.span.span_id.clone()).collect();
        assert_eq!(ids.len(), self.parts.len(), "each part is there once: {:#?}", self.names());
        for part in &self.parts {
            let _ = self.way_up(part);
            let (begin, end) = (part.span.start_time_unix_nano, part.span.end_time_unix_nano);
            assert!(begin > 0 && begin <= end, "{}: {begin} {end}", part.span.name);
        }
        let below = |part: &&Part| part.span.parent_span_id == self.caller.span.as_bytes();
        assert_eq!(self.parts.iter().filter(below).count(), 1, "one call: {:#?}", self.names());
    }

    /// All names, as `SERVICE: NAME`.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.parts.iter().map(|part| format!("{}: {}", part.service, part.span.name)).collect()
    }
}

struct Keep(Arc<Mutex<Vec<Part>>>);

#[tonic::async_trait]
impl TraceService for Keep {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut parts = self.0.lock().unwrap();
        for one in request.into_inner().resource_spans {
            let attributes = one.resource.map(|it| it.attributes).unwrap_or_default();
            let (service, host) = (word(&attributes, "service.name"), word(&attributes, "host.id"));
            let spans = one.scope_spans.into_iter().flat_map(|it| it.spans);
            parts.extend(spans.map(|span| Part { service: service.clone(), host: host.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// An attribute that is a word; empty: it is not there.
#[must_use]
pub fn word(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|it| it.key == key);
    match found.and_then(|it| it.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(word)) => word.clone(),
        _ => String::new(),
    }
}
