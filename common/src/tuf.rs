//! The signed repository of extensions and releases, as everybody must read it who is to
//! act on it: agents, the control plane, and the command that makes it. It is a repository
//! of The Update Framework (TUF 1.0): formats, keys and signatures are those of `tough`, the
//! order of checks is here, because time must be the caller's, what is trusted must be one
//! file that is whole or not there, and each refusal must say which it is.
//!
//! Promises:
//! - Nothing here reads a file, a network or a clock: [`Update`] says what it wants, and is
//!   given it or not.
//! - Nothing is believed that the keys did not sign for now, and nothing that is older than
//!   what was believed before, as long as the keys stay.
//! - What it asks for is bounded, and so is how often it asks.
//!
//! Delegations are not followed: only what the targets role itself signs is there.

mod error;
mod role;
pub mod signing;
mod target;
mod trusted;
mod update;

pub use error::Error;
pub use role::Role;
pub use target::{About, Kind, Target, check_name};
pub use trusted::{Kept, Repository};
pub use update::{Update, Want};

/// Most bytes of one root metadata.
pub const MOST_ROOT: u64 = 64 * 1024;
/// Most bytes of the timestamp metadata.
pub const MOST_TIMESTAMP: u64 = 16 * 1024;
/// Most bytes of the snapshot metadata.
pub const MOST_SNAPSHOT: u64 = 64 * 1024;
/// Most bytes of the targets metadata: some ten thousand files.
pub const MOST_TARGETS: u64 = 4 * 1024 * 1024;
/// Most roots that are followed in one update.
pub const MOST_ROOTS: u32 = 64;
/// Most bytes of a file of the repository.
pub const MOST_FILE: u64 = 1024 * 1024 * 1024;

#[cfg(test)]
mod tests;
