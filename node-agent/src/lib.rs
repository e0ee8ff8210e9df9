//! Muster's node agent: one process on every host, which opens one session to
//! the control plane, keeps the host in the state it is told, and runs each
//! command at most once.
//!
//! Rooms, lower ones first; arrows point down only:
//! `redaction`, `state` · `config`, `proxy` · `dial` · `platform` · `ledger`, `locks` · `identity` ·
//! `applier`, `blobs`, `commands`, `diagnostics`, `liveness`, `session`, `workload` ·
//! `local_api` · `wiring` · `cli`.

pub mod applier;
pub mod blobs;
pub mod cli;
pub mod commands;
pub mod config;
pub mod diagnostics;
pub mod dial;
pub mod identity;
pub mod ledger;
pub mod liveness;
pub mod local_api;
pub mod locks;
pub mod platform;
pub mod proxy;
pub mod redaction;
pub mod session;
pub mod state;
pub mod state_dir;
pub mod wiring;
pub mod workload;
