//! What operators call: one file per service.

pub mod access;
pub mod alerts;
pub mod artifacts;
pub mod assignments;
pub mod audit;
pub mod blobs;
pub mod bundles;
pub mod concurrency_leases;
pub mod events;
pub mod extensions;
pub mod groups;
pub mod identity;
pub mod join_tokens;
pub mod nodes;
pub mod operations;
pub mod releases;
pub mod rollouts;
pub mod schedules;
pub mod settings;
pub mod system;
pub mod workloads;
