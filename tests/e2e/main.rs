//! The main job with the real binaries as processes: what an operator sees, and
//! what happens on the host. Build first: `make test` does.
#![allow(clippy::unwrap_used)]

mod access;
mod approval;
mod attacks;
mod audit;
mod bad_input;
mod benches;
mod blobs;
mod bundle_blobs;
mod bundles;
mod clients;
mod commands;
mod confirm;
mod demo;
mod doors;
mod drift;
mod enrollment_attacks;
mod explain;
mod faults;
mod fleet;
mod for_real;
mod groups;
mod handshakes;
mod host_certificates;
mod hosts;
mod identity;
mod lanes;
mod leaving;
mod oidc;
mod output;
mod probes;
mod recovery;
mod reflection;
mod refusals;
mod rollouts;
mod scan;
mod secrets;
mod sessions;
mod settings;
mod upkeep;
mod writes;
