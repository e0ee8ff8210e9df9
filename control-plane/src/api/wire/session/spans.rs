//! What hosts tell of traces: as much of it as is kept.

use muster_common::generation::Generation;
use muster_proto::agent::v1 as pb;

use super::short;
use crate::{session::frames::ItemTold, traces::Told};

/// Parts that are taken of one order.
const SPANS: usize = 32;
/// Orders of one message.
const ITEMS: usize = 64;

/// Of a command.
pub(super) fn of_order(spans: Vec<pb::Span>) -> Vec<Told> {
    spans.into_iter().take(SPANS).map(told).collect()
}

/// Of items. What has the name of none is left out.
pub(super) fn of_items(traces: Vec<pb::ItemTrace>) -> Vec<ItemTold> {
    let told = |one: pb::ItemTrace| {
        let generation = Generation::new(one.epoch, one.generation);
        Some(ItemTold { item: one.item.parse().ok()?, generation, spans: of_order(one.spans) })
    };
    traces.into_iter().take(ITEMS).filter_map(told).collect()
}

fn told(span: pb::Span) -> Told {
    Told {
        name: short(span.name),
        id: span.span_id.iter().copied().take(8).collect(),
        parent: span.parent_span_id.iter().copied().take(8).collect(),
        begin_us: span.start_us,
        end_us: span.end_us,
        error: short(span.error),
    }
}
