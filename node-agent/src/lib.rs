//! Muster's node agent: it opens one session to the control plane, keeps the host in
//! the state it is told, and runs each command at most once. As one process, or as two:
//! one without rights, and one that has them and no network.
//!
//! Rooms, lower ones first; arrows point down only:
//! `redaction`, `state`, `watched` · `config`, `proxy` · `dial` · `platform` · `depot` · `admission`, `ledger`, `locks`, `identity`, `verbs` ·
//! `upgrader` · `applier`, `artifacts`, `blobs`, `commands`, `diagnostics`, `executor`, `extensions`, `liveness`, `release`, `session`, `workload` ·
//! `local_api` · `wiring` · `cli`.

pub mod admission;
pub mod applier;
pub mod artifacts;
pub mod blobs;
pub mod cli;
pub mod commands;
pub mod config;
pub mod depot;
pub mod diagnostics;
pub mod dial;
pub mod executor;
pub mod extensions;
pub mod identity;
pub mod ledger;
pub mod liveness;
pub mod local_api;
pub mod locks;
pub mod platform;
pub mod proxy;
pub mod redaction;
pub mod release;
pub mod session;
pub mod state;
pub mod state_dir;
pub mod upgrader;
pub mod verbs;
pub mod watched;
pub mod wiring;
pub mod workload;
