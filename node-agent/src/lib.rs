//! Muster's node agent: one process on every host, which opens one session to
//! the control plane, keeps the host in the state it is told, and runs each
//! command at most once.
//!
//! Rooms, lower ones first; arrows point down only:
//! `platform`, `state`, `config`, `redaction` · `ledger`, `locks` · `identity` ·
//! `applier`, `blobs`, `commands`, `liveness`, `session` · `wiring` · `cli`.

pub mod applier;
pub mod blobs;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dial;
pub mod identity;
pub mod ledger;
pub mod liveness;
pub mod locks;
pub mod platform;
pub mod redaction;
pub mod session;
pub mod state;
pub mod state_dir;
pub mod wiring;
