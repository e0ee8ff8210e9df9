//! Faults: what is promised must hold when processes die at any moment.
//!
//! Small in CI; `make soak` runs it whole (`MUSTER_ROUNDS`). The seed is printed
//! and can be given (`MUSTER_SEED`).
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod check;
mod kill9;
mod load;
