//! What node agents call.

pub mod blobs;
pub mod enrollment;
pub mod identity;
pub mod session;
