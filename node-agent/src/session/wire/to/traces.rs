//! Parts of traces.

use muster_common::trace::SpanId;
use muster_proto::agent::v1 as pb;

use crate::state::{ItemStory, Span};

pub(super) fn story(story: ItemStory) -> pb::ItemTrace {
    pb::ItemTrace {
        item: story.item,
        epoch: story.generation.epoch,
        generation: story.generation.number,
        spans: story.spans.into_iter().map(span).collect(),
    }
}

pub(super) fn span(span: Span) -> pb::Span {
    let id = |id: SpanId| bytes::Bytes::copy_from_slice(id.as_bytes());
    pb::Span {
        name: span.name,
        span_id: id(span.id),
        parent_span_id: span.parent.map(id).unwrap_or_default(),
        start_us: span.begin_us,
        end_us: span.end_us,
        error: span.error,
    }
}
