//! Faults: what is promised must hold when processes die at any moment, when hosts lose their
//! power or their disks are full, while somebody floods the doors, while the authority rotates,
//! and while the network fails.
//!
//! Small in CI; `make soak` runs it whole (`MUSTER_ROUNDS`, `MUSTER_SECONDS`, `MUSTER_HALF_OPEN`,
//! `MUSTER_SESSIONS`, `MUSTER_AGENTS`, `MUSTER_COMMANDS`, `MUSTER_BRICK`, `MUSTER_CUTS`,
//! `MUSTER_NETWORK_SECONDS`, `MUSTER_FLEET`, `MUSTER_KILLING`, `MUSTER_STORM`,
//! `MUSTER_STORM_REPLICAS`). The seed is printed and can be given (`MUSTER_SEED`).
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod apply;
mod brick;
mod check;
mod commands;
mod extensions;
mod floods;
mod kill9;
mod load;
mod network;
mod power;
mod replicas;
mod rotation;
mod storm;
mod tree;

pub(crate) use muster_tests::soak::{number, report};

/// Each of these tests needs the machine for itself.
pub(crate) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
