//! Use-cases on a real store in a temporary folder, without the wire.

pub(super) mod bench;
mod blobs;
mod certificates;
mod commands;
mod desired;
mod explain;
mod feed;
mod groups;
mod identity;
mod ledger;
mod output;
mod pacing;
mod preview;
mod reports;
mod results;
mod rollout_holds;
mod rollouts;
mod schedules;
mod scopes;
mod secrets;
mod sessions;
mod settings;
mod twins;
mod watches;
mod workloads;
mod written;
