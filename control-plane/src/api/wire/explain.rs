//! Why a node has an item, or has it not.

use muster_proto::admin::v1 as pb;

use super::{item, timestamp};
use crate::app::explain::Explanation;

pub(in crate::api) fn explanation(found: &Explanation) -> pb::ExplainItemResponse {
    let reasons = found.reasons.iter().map(|reason| pb::ExplainReason {
        about: reason.about.to_owned(),
        holds: reason.holds,
        text: reason.text.clone(),
    });
    pb::ExplainItemResponse {
        verdict: found.verdict.as_str().to_owned(),
        reasons: reasons.collect(),
        desired: found.wanted.as_ref().map(item::version),
        reported: found.reported.as_ref().map(item::state),
        expected_time: found.expected_at.map(timestamp),
    }
}
