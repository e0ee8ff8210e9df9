//! What Muster's tests, its demo and its benches share: they start the real
//! binaries as processes, on ports that the system chooses, in folders of their
//! own, and end every one of them by its id, also when they fail.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a helper that cannot go on ends its test
#![allow(clippy::print_stderr)]

pub mod agent;
pub mod binaries;
pub mod blobs;
pub mod cable;
pub mod catalogue;
pub mod eventually;
pub mod faults;
pub mod forge;
pub mod frames;
pub mod haproxy;
pub mod history;
pub mod host;
pub mod hostile;
pub mod issuer;
pub mod limits;
pub mod mirror;
pub mod monitoring;
pub mod mount;
pub mod netns;
pub mod operator;
pub mod otlp;
pub mod packages;
pub mod plane;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod raw;
pub mod relay;
pub mod releases;
pub mod replicas;
pub mod repository;
pub mod search;
pub mod soak;
pub mod swarm;
pub mod swarms;
pub mod sysctl;
pub mod told;
pub mod versions;
pub mod visitor;
pub mod webhook;
