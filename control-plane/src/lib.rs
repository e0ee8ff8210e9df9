//! Muster's control plane, as a library for its binary and for tests.

pub mod api;
pub mod app;
pub mod backup;
pub mod blobs;
pub mod ca;
pub mod cli;
pub mod config;
pub mod console;
pub mod fleet_console;
pub mod host_ca;
pub mod metrics;
pub mod notify;
pub mod oidc;
pub mod server;
pub mod session;
pub mod traces;
pub mod vault;
pub mod wiring;
pub mod work;
