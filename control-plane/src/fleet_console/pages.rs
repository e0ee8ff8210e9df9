//! The pages, one file each. A page names the method of the operators' API that it shows,
//! and asks for the rights which that asks for.

pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod explain;
pub(super) mod link;
pub(super) mod node;
pub(super) mod nodes;
pub(super) mod overview;
pub(super) mod progress;
pub(super) mod rollout;
pub(super) mod rollouts;
pub(super) mod runbook;
mod timeline;
