//! What hosts tell of traces: as much of it as is kept.

use muster_common::{generation::Generation, reason::Reason, trace::OF_ORDER};
use muster_domain::command::State;
use muster_proto::agent::v1 as pb;

use super::short;
use crate::{session::frames::ItemTold, traces::Told};

/// Orders of one message.
const ITEMS: usize = 64;
/// Why a file is not in its place: the disk of the host refused.
const DISK: &str = "io";
/// Whatever else a host says of why something failed.
const OTHER: &str = "other";

/// Of a command.
pub(super) fn of_order(spans: Vec<pb::Span>) -> Vec<Told> {
    spans.into_iter().take(OF_ORDER).map(told).collect()
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
        error: word(&span.error),
    }
}

/// A word that is known here: of a reason, of a state in which a command ends, or of the disk.
fn word(error: &str) -> &'static str {
    let state = || State::ALL.iter().find(|it| it.as_str().eq_ignore_ascii_case(error)).map(|it| it.as_str());
    match error {
        "" => "",
        DISK => DISK,
        _ => Reason::parse(error).map(Reason::as_str).or_else(state).unwrap_or(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, error: &str) -> Told {
        let (name, error) = (name.to_owned(), error.to_owned());
        of_order(vec![pb::Span { name, error, ..Default::default() }]).remove(0)
    }

    #[test]
    fn why_a_part_failed_is_a_known_word_or_none_of_them() {
        let words =
            ["", "io", "PROBE_FAILED", "Failed", "<b>my own words</b>"].map(|word| said("x", word).error);
        assert_eq!(words, ["", "io", "PROBE_FAILED", "failed", "other"]);
    }

    #[test]
    fn texts_are_cut_by_bytes_and_parts_by_their_number() {
        let long = said(&"\u{20ac}".repeat(200), "");
        assert!((254..=256).contains(&long.name.len()), "{}", long.name.len());
        assert_eq!(of_order(vec![pb::Span::default(); OF_ORDER + 1]).len(), OF_ORDER);
    }
}
