//! The main job with the real binaries as processes: what an operator sees, and
//! what happens on the host. Build first: `make test` does.
#![allow(clippy::unwrap_used)]

mod audit;
mod bad_input;
mod bundles;
mod clients;
mod commands;
mod doors;
mod fleet;
mod leaving;
mod sessions;
