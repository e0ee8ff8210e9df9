//! Frames to the messages of `muster.agent.v1` and back. What the control plane
//! says malformed is passed over as unknown: nothing of it reaches the host.

mod from;
mod to;

pub use from::inbound;
pub use to::{condition_status, facts, facts_sha256, item_state, outbound, outcome, reason, setting};
