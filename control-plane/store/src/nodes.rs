//! Nodes. What an operator edits, what the host is doing, what the host is,
//! its certificates and its items are rows of their own, because they are
//! written at their own pace: a change of liveness rewrites a hundred bytes,
//! not the whole node.

mod read;
mod write;

pub use read::ReadNodes;
pub use write::WriteNodes;
