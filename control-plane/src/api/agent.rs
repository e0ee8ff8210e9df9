//! What node agents call.

pub mod enrollment;
pub mod identity;
pub mod session;
