//! What node agents call.

pub mod artifacts;
pub mod blobs;
pub mod diagnostics;
pub mod enrollment;
pub mod identity;
pub mod node;
pub mod session;
pub mod workload;
